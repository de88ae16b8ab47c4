"""What an MP3 file states about its own length: the Xing, Info and VBRI headers.

Source: the headers as LAME and Fraunhofer's encoders write them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SYNC_SEARCH = 65_536  # bytes between tags and first frame
_BYTE_SLACK = 4_096  # a header may count its own frame and the tags, or not
_BITRATES = {  # kbit/s by version 1 or not, and layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)  # Hz of version 1; halves and quarters in versions 2 and 2.5
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"LYRICS200", b"3DI")
_TOC_FLAGS = ((2, 4), (4, 100), (8, 4))  # fields that follow the count of frames: flag, bytes


@dataclass(frozen=True)
class Stated:
    """What a file states of its length.

    Attributes:
        frames: samples per channel without delay and padding; None if it states none.
        missing: bytes of audio that it states and does not have.
        joined: another stream follows the one that the header is about.
    """

    frames: int | None = None
    missing: int = 0
    joined: bool = False


@dataclass(frozen=True)
class _Header:
    """Attributes: frames: samples per channel without delay and padding. size: audio bytes."""

    frames: int
    size: int | None


def stated_length(path: Path) -> Stated:
    """Compare an MP3 file with its Xing, Info or VBRI header."""
    with path.open("rb") as file:
        start = _after_id3(file)
        file.seek(start)
        head = file.read(_SYNC_SEARCH)
        audio = file.seek(0, 2) - start - _trailing_tags(file)
    at = _first_frame(head)
    found = None if at is None else _header(head[at:])
    if found is None:
        return Stated()
    if found.size is None:
        return Stated(found.frames)
    missing = found.size - (audio - (at or 0))
    if missing < -_BYTE_SLACK:
        return Stated(joined=True)
    return Stated(found.frames, missing if missing > _BYTE_SLACK else 0)


def is_tag(data: bytes) -> bool:
    """Whether bytes that are no MP3 frame are a known tag, or the header frame of another file."""
    return data.startswith(TAGS) or b"Xing" in data[:64] or b"Info" in data[:64]


def frame_size(demuxer: str, head: bytes) -> int | None:
    """Bytes of a frame by its own header; None if it does not say (free format, no header)."""
    if len(head) < 7 or head[0] != 0xFF:
        return None
    if demuxer == "aac" and head[1] & 0xF6 == 0xF0:  # ADTS
        return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if demuxer != "mp3" or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 2 & 3
    bitrates = _BITRATES.get((version == 3, layer))
    if bitrates is None or version == 1 or rate == 3 or not 0 < head[2] >> 4 < 15:
        return None
    hertz = _RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    bits, padding = bitrates[head[2] >> 4] * 1_000, head[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    slots = 72 if layer == 3 and version != 3 else 144
    return slots * bits // hertz + padding


def needs_earlier_frames(head: bytes) -> bool:
    """Whether a layer III frame begins in the bit reservoir of frames before it."""
    if len(head) < 8 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return False
    side = head[4 if head[1] & 1 else 6 :]
    return (side[0] << 1 | side[1] >> 7 if head[1] & 0x18 == 0x18 else side[0]) > 0


def _after_id3(file: BinaryIO) -> int:
    """Where the ID3v2 tags at the beginning end."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(10)
        if len(head) < 10 or not head.startswith(b"ID3") or max(head[6:10]) >= 0x80:
            return at
        size = sum(byte << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
        at += 10 + size + (10 if head[5] & 0x10 else 0)


def _trailing_tags(file: BinaryIO) -> int:
    """Bytes of ID3v1 and APEv2 tags at the end."""
    size = file.seek(0, 2)
    found = 0
    file.seek(max(0, size - 128))
    if file.read(3) == b"TAG":
        found = 128
    file.seek(max(0, size - found - 32))
    footer = file.read(32)
    if footer.startswith(b"APETAGEX"):
        length, _, flags = struct.unpack_from("<III", footer, 12)
        found += length + (32 if flags & 0x8000_0000 else 0)
    return found


def _first_frame(head: bytes) -> int | None:
    """Offset of the first MPEG audio frame header."""
    at = head.find(b"\xff")
    while 0 <= at < len(head) - 4:
        if head[at + 1] & 0xE6 == 0xE2 and head[at + 2] & 0xF0 != 0xF0 and head[at + 2] & 12 != 12:
            return at
        at = head.find(b"\xff", at + 1)
    return None


def _header(frame: bytes) -> _Header | None:
    """The Xing, Info or VBRI header in a layer III frame, if there is one with a count."""
    version1 = frame[1] & 0x18 == 0x18
    per_frame = 1_152 if version1 else 576
    mono = frame[3] >> 6 == 3
    side = (17 if mono else 32) if version1 else (9 if mono else 17)
    at = 4 + side
    if frame[at : at + 4] in (b"Xing", b"Info") and len(frame) >= at + 16:
        return _xing(frame, at, per_frame)
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        size, count = struct.unpack_from(">II", frame, 46)
        return _Header(count * per_frame, size or None) if count else None
    return None


def _xing(frame: bytes, at: int, per_frame: int) -> _Header | None:
    flags = struct.unpack_from(">I", frame, at + 4)[0]
    if not flags & 1:
        return None
    count = struct.unpack_from(">I", frame, at + 8)[0]
    size = struct.unpack_from(">I", frame, at + 12)[0] if flags & 2 else None
    at += 12 + sum(length for flag, length in _TOC_FLAGS if flags & flag)
    frames = count * per_frame
    if frame[at : at + 4] in (b"LAME", b"Lavf", b"Lavc") and len(frame) >= at + 24:
        gaps = int.from_bytes(frame[at + 21 : at + 24], "big")
        frames -= (gaps >> 12) + (gaps & 0xFFF)
    return _Header(frames, size) if count and frames > 0 else None
