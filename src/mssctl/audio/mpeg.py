"""Bare MPEG audio: the frames of mp3 and AAC (ADTS) files, and the headers that state a length.

FFmpeg gives bytes between two frames to the decoder, and trims by headers that may be wrong. So
the frames are walked before they are decoded.
Sources: ISO 11172-3, 13818-3 and 13818-7; the Xing, LAME and VBRI headers as their encoders write
them.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path

from mssctl.audio import tags
from mssctl.audio.errors import cut_off, damaged
from mssctl.audio.part import Layout, Range

_SLACK = 3  # frames: a header may count itself, or leave out the last ones
_DECODER_DELAY = 529  # samples that a layer III decoder adds; FFmpeg drops them with the encoder's
_BITRATES = {  # kbit/s by version 1 or not, and layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)  # Hz of version 1; halves and quarters in versions 2 and 2.5
_AAC_RATES = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
)  # fmt: skip
_TOC_FLAGS = ((2, 4), (4, 100), (8, 4))  # fields that follow the count of frames: flag, bytes
_SEARCH, _TRIES = 1 << 28, 100_000  # bytes and places in which a next frame is looked for
_HEAD = 7  # bytes of the longest frame header
_EMPTY = bytes(7)  # in the side information of a frame that holds a Xing or VBRI header


@dataclass(frozen=True)
class _Frame:
    """What a frame header says. kind: what all frames of a stream share."""

    size: int
    samples: int
    rate: int
    kind: tuple[int, int]


@dataclass(frozen=True)
class _Header:
    """A Xing, Info or VBRI header.

    Attributes:
        frames: of audio, this one not among them.
        delay: samples that FFmpeg drops at the beginning.
        padding: samples at the end that are no audio.
        size: bytes of its own frame.
    """

    frames: int
    delay: int = 0
    padding: int = 0
    size: int = 0


@dataclass
class _Run:
    """Frames of one kind without a gap, bytes ``[start, stop)``."""

    start: int
    stop: int
    frames: int
    first: _Frame
    header: _Header | None
    incomplete: bool = False  # the last frame


@dataclass(frozen=True)
class _Gap:
    """Bytes that are neither frames nor tags."""

    start: int
    stop: int


_Parse = Callable[[bytes], _Frame | None]


def layout(path: Path, demuxer: str) -> Layout | None:
    """Walk the frames of an ``mp3`` or ``aac`` file; None if they are of another kind.

    Raises:
        MssctlError: bytes between two frames are not audio, or frames that the header counts are
            missing.
    """
    parse: _Parse = _mp3_frame if demuxer == "mp3" else _aac_frame
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        streams, gaps = _streams(path, data, parse)
    if not streams:  # of a kind that this module does not know, such as free format
        return None
    notes = []
    start, stop = streams[0][0].start, streams[-1][-1].stop
    before = sum(gap.stop - gap.start for gap in gaps if gap.stop <= start)
    after = sum(gap.stop - gap.start for gap in gaps if gap.start >= stop)
    parts, lengths = [], []
    for runs in streams:
        ranges, length, note = _measure(path, runs)
        parts.append(ranges)
        lengths.append(length)
        notes += note
    if before:
        notes.append(f"{before} bytes before the audio are not read")
    if after:
        cut = "" if lengths[-1] is not None else ": the file may be cut off"
        notes.append(f"{after} bytes at the end are not audio{cut}")
    return Layout(tuple(parts), lengths[0] if len(parts) == 1 else None, tuple(notes))


def _streams(path: Path, data: mmap, parse: _Parse) -> tuple[list[list[_Run]], list[_Gap]]:
    """The runs of frames by stream: a header or another kind of frame begins a new one.

    Raises:
        MssctlError: a gap between frames.
    """
    streams: list[list[_Run]] = []
    gaps: list[_Gap] = []
    seconds = 0.0
    for found in _walk(data, parse, tags.start_of_trailing(data)):
        if isinstance(found, _Gap):
            gaps.append(found)
            continue
        if streams and gaps and gaps[-1].start >= streams[-1][-1].stop:
            raise damaged(path, seconds, "bytes between two frames are not audio")
        if not streams or found.header or found.first.kind != streams[-1][-1].first.kind:
            streams.append([])
        streams[-1].append(found)
        seconds += found.frames * found.first.samples / found.first.rate
    return streams, gaps


def _measure(path: Path, runs: list[_Run]) -> tuple[tuple[Range, ...], int | None, list[str]]:
    """The ranges of a stream, its length in samples where its header is right, and notes.

    Raises:
        MssctlError: frames that the header counts are missing.
    """
    header, first = runs[0].header, runs[0].first
    found = sum(run.frames for run in runs)
    ranges = [(run.start, run.stop) for run in runs]
    notes = ["its last frame is incomplete and not read"] * runs[-1].incomplete
    if header is None:
        return tuple(ranges), None, notes
    second = first.samples / first.rate
    if found < header.frames - _SLACK:
        raise cut_off(path, found * second, header.frames * second)
    if found == header.frames:
        length = found * first.samples - header.delay - header.padding
        exact = header.padding >= 0 and length > 0
        return tuple(ranges), length if exact else None, notes
    if found != header.frames - 1:  # which counts itself
        notes.append(
            f"{found * second:.3f} s of audio, all read; its header states "
            f"{header.frames * second:.3f} s"
        )
    if found > header.frames:  # FFmpeg would cut out what the header takes for padding
        ranges[0] = (ranges[0][0] + header.size, ranges[0][1])
    return tuple(ranges), None, notes


def _walk(data: mmap, parse: _Parse, stop: int) -> Iterator[_Run | _Gap]:
    """Runs of frames and gaps before ``stop``, in order. Tags are passed over."""
    at = 0
    while at < stop:
        if size := tags.size_at(data, at):
            at += size
        elif run := _run(data, parse, at, stop):
            yield run
            at = stop if run.incomplete else run.stop
        else:
            begin, at = at, _next_frame(data, parse, at + 1, stop)
            yield _Gap(begin, at)


def _run(data: mmap, parse: _Parse, at: int, stop: int) -> _Run | None:
    """The frames from ``at`` on; None if there is no frame, or nothing confirms a first one."""
    first = parse(data[at : at + _HEAD])
    if first is None or not _is_confirmed(data, parse, at, stop, first):
        return None
    start, frames = at, 0
    header = _header(data[at : at + 256], first)
    if header:
        at += first.size
    while at < stop:
        frame = parse(data[at : at + _HEAD])
        if frame is None or frame.kind != first.kind:
            break
        if frames and data[at + 6 : at + 13] == _EMPTY and _header(data[at : at + 256], frame):
            break
        if at + frame.size > stop:
            return _Run(start, at, frames, first, header, incomplete=True)
        at += frame.size
        frames += 1
    return _Run(start, at, frames, first, header)


def _is_confirmed(data: mmap, parse: _Parse, at: int, stop: int, frame: _Frame) -> bool:
    """Whether another frame or a tag follows a frame, or the end of the audio."""
    after = at + frame.size
    if after >= stop:
        return after == stop
    following = parse(data[after : after + _HEAD])
    return bool(tags.size_at(data, after)) or (
        following is not None and following.kind == frame.kind
    )


def _next_frame(data: mmap, parse: _Parse, at: int, stop: int) -> int:
    """Where the next frame begins that another one follows, or a tag; ``stop`` if none does."""
    candidates = _CANDIDATE.finditer(data, at, min(stop, at + _SEARCH))
    for found in islice(candidates, _TRIES):
        at = found.start()
        if tags.size_at(data, at):
            return at
        frame = parse(data[at : at + _HEAD])
        if frame and _is_confirmed(data, parse, at, stop, frame):
            return at
    return stop


_CANDIDATE = re.compile(rb"\xff[\xe2-\xff][^\x00\xff]|\xff[\xf0\xf1\xf8\xf9]|ID3|TAG|APETAGEX")


def _mp3_frame(head: bytes) -> _Frame | None:
    return _mp3_frame_of(head[:3])


@cache
def _mp3_frame_of(head: bytes) -> _Frame | None:
    """A frame of MPEG audio by its first bytes; None also for free format."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 2 & 3
    bitrates = _BITRATES.get((version == 3, layer))
    if bitrates is None or version == 1 or rate == 3 or not 0 < head[2] >> 4 < 15:
        return None
    hertz = _RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    bits, padding = bitrates[head[2] >> 4] * 1_000, head[2] >> 1 & 1
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1_152
    if layer == 1:
        size = (12 * bits // hertz + padding) * 4
    else:
        size = samples // 8 * bits // hertz + padding
    return _Frame(size, samples, hertz, (head[1] & 0xFE, head[2] & 0x0C))


def _aac_frame(head: bytes) -> _Frame | None:
    """A frame of AAC in ADTS by its first bytes."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    rate, size = head[2] >> 2 & 15, (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if rate >= len(_AAC_RATES) or size < _HEAD:
        return None
    samples = 1_024 * ((head[6] & 3) + 1)
    return _Frame(size, samples, _AAC_RATES[rate], (head[1] & 0xFE, head[2] & 0xFC))


def needs_earlier_frames(head: bytes) -> bool:
    """Whether a layer III frame begins in the bit reservoir of frames before it."""
    if len(head) < 8 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return False
    side = head[4 if head[1] & 1 else 6 :]
    return (side[0] << 1 | side[1] >> 7 if head[1] & 0x18 == 0x18 else side[0]) > 0


def _header(frame: bytes, facts: _Frame) -> _Header | None:
    """The Xing, Info or VBRI header in a layer III frame, if there is one with a count."""
    if frame[1] & 0xE6 != 0xE2:
        return None
    version1, mono = facts.samples == 1_152, frame[3] >> 6 == 3
    at = 4 + ((17 if mono else 32) if version1 else (9 if mono else 17))
    if frame[at : at + 4] in (b"Xing", b"Info") and len(frame) >= at + 16:
        return _xing(frame, at, facts.size)
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        count = int.from_bytes(frame[50:54], "big")
        return _Header(count, size=facts.size) if count else None
    return None


def _xing(frame: bytes, at: int, size: int) -> _Header | None:
    flags, count = struct.unpack_from(">II", frame, at + 4)
    if not flags & 1 or not count:
        return None
    at += 12 + sum(length for flag, length in _TOC_FLAGS if flags & flag)
    if frame[at : at + 4] in (b"LAME", b"Lavf", b"Lavc") and len(frame) >= at + 24:
        gaps = int.from_bytes(frame[at + 21 : at + 24], "big")
        delay = (gaps >> 12) + _DECODER_DELAY
        return _Header(count, delay, (gaps & 0xFFF) - _DECODER_DELAY, size)
    return _Header(count, size=size)
