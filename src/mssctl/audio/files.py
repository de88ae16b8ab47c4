"""Audio files: what is in them, and samples out of them. The one reader of the program.

PCM files are read by libsndfile (`audio.pcm`), all others by FFmpeg's libraries (`audio.coded`).
A length is a fact only where the file states it; an estimate never limits reading.
"""

import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mssctl.audio import pcm
from mssctl.audio.errors import changed, no_frames
from mssctl.audio.source import Note, Source, silent
from mssctl.errors import MssctlError

_LOUDEST = 2.0**32  # no integer of 32 bits kept as a float means more
_COUNTED_BLOCK = 1 << 20  # samples per channel decoded at once to count them


@dataclass(frozen=True)
class AudioInfo:
    """What a file holds.

    Attributes:
        path: of the file.
        frames: samples per channel.
        sample_rate: Hz.
        channels: per frame.
        subtype: sample format in libsndfile's words (``PCM_16``, ``FLOAT``); of a lossy codec its
            name (``MP3``, ``OPUS``).
        notes: what a user should know about the file.
        audio_streams: in the file; the first one is read by default.
    """

    path: Path
    frames: int
    sample_rate: int
    channels: int
    subtype: str
    notes: tuple[str, ...] = ()
    audio_streams: int = 1

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


def inspect(path: Path) -> AudioInfo:
    """A cheap look at a file: its header and first samples; ``frames`` is 0 if it states none.

    Raises:
        MssctlError: not there, not readable, not audio, cut off, or empty.
    """
    with _steady(path):
        return _info(path, _open(path))


def probe(path: Path) -> AudioInfo:
    """What a file holds; it is decoded once, to count, where it does not state its length.

    Raises:
        MssctlError: see `inspect`, and `blocks` where it is decoded.
    """
    with _steady(path):
        source = _open(path)
        frames = source.facts.stated
        if frames is None:
            frames = sum(block.shape[1] for block in _whole(path, source, _COUNTED_BLOCK, silent))
        return _info(path, source, frames)


def read(
    path: Path, start: int = 0, frames: int | None = None, *, note: Note = silent
) -> NDArray[np.float32]:
    """Samples ``(C, n)`` from frame ``start`` on; all that follow if ``frames`` is None.

    They are those of the whole file at this place; fewer than ``frames`` come back only at its
    end. Only where all of the file is read, checksums (FLAC, Ogg) are compared and ``note``
    receives what is odd about it.

    Raises:
        MssctlError: unreadable or damaged, or a sample is NaN, infinite or absurd.
    """
    if start == 0 and frames is None:
        return np.concatenate(list(blocks(path, _COUNTED_BLOCK, note)), axis=1)
    with _steady(path):
        source = _open(path)
        taken = [np.zeros((source.facts.channels, 0), np.float32)]
        left = frames
        for block in _checked(path, source, source.excerpt(start), start):
            taken.append(block[:, :left])
            if left is not None:
                left -= taken[-1].shape[1]
                if left <= 0:
                    break
        return np.concatenate(taken, axis=1)


def blocks(
    path: Path, frames_per_block: int, note: Note = silent, *, stream: int = 0
) -> Iterator[NDArray[np.float32]]:
    """The whole file as blocks ``(C, n)``, ``n == frames_per_block`` but for the last.

    Args:
        path: of the file.
        frames_per_block: samples per channel.
        note: receives what a user should know and only the whole file shows.
        stream: which of the file's audio streams.

    Raises:
        MssctlError: unreadable, damaged, cut off, changed meanwhile, or a sample is NaN, infinite
            or absurd.
    """
    with _steady(path):
        yield from _whole(path, _open(path, stream), frames_per_block, note)


def _open(path: Path, stream: int = 0) -> Source:
    source = pcm.PcmSource.open(path)
    if source is not None:
        return source
    # FFmpeg's libraries take a tenth of a second to load, and a wav file does not need them.
    from mssctl.audio.coded import CodedSource  # noqa: PLC0415

    return CodedSource(path, stream)


def _info(path: Path, source: Source, frames: int | None = None) -> AudioInfo:
    facts = source.facts
    return AudioInfo(
        path,
        facts.stated or 0 if frames is None else frames,
        facts.sample_rate,
        facts.channels,
        facts.subtype,
        facts.notes,
        facts.audio_streams,
    )


def _whole(
    path: Path, source: Source, frames_per_block: int, note: Note
) -> Iterator[NDArray[np.float32]]:
    """All samples in blocks of one length.

    Raises:
        MssctlError: see `blocks`.
    """
    done = 0
    for block in _regular(source.whole(note), frames_per_block):
        yield from _checked(path, source, [block], done)
        done += block.shape[1]
    if not done:
        raise no_frames(path)


def _regular(
    source: Iterable[NDArray[np.float32]], frames_per_block: int
) -> Iterator[NDArray[np.float32]]:
    """Blocks of any lengths as contiguous blocks of one length; the last may be shorter."""
    held: list[NDArray[np.float32]] = []
    size = 0
    for block in source:
        held.append(block)
        size += block.shape[1]
        while size >= frames_per_block:
            joined = np.concatenate(held, axis=1) if len(held) > 1 else held[0]
            yield np.ascontiguousarray(joined[:, :frames_per_block])
            held = [joined[:, frames_per_block:]]
            size -= frames_per_block
    if size:
        yield np.concatenate(held, axis=1)


def _checked(
    path: Path, source: Source, found: Iterable[NDArray[np.float32]], start: int
) -> Iterator[NDArray[np.float32]]:
    """Blocks, each refused if a sample in it spoils everything around it."""
    for block in found:
        loudest = float(np.abs(block).max(initial=0.0))
        if not loudest <= _LOUDEST:  # a NaN fails the comparison, too
            wrong = ~(np.abs(block) <= _LOUDEST).all(axis=0)
            seconds = (start + int(np.argmax(wrong))) / source.facts.sample_rate
            what = "NaN or infinite sample"
            if np.isfinite(loudest):
                what = f"a peak of {loudest:.3g}, far beyond full scale (1),"
            raise MssctlError(
                f"{path}: {what} at {seconds:.3f} s",
                hint="export the file again; such a sample would spoil everything around it",
            )
        yield block
        start += block.shape[1]


@contextmanager
def _steady(path: Path) -> Iterator[None]:
    """Around the reading of a file: it must be a regular one, and the same one afterwards.

    Raises:
        MssctlError: not there, not readable, no regular file, empty, or changed meanwhile.
    """
    before = _identity(path)
    try:
        yield
    except OSError as error:
        raise MssctlError(f"{path}: cannot be read: {error.strerror or error}") from None
    if _identity(path) != before:
        raise changed(path)


def _identity(path: Path) -> tuple[int, int, int]:
    """Size, time of the last change and inode of a readable file."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
            raise MssctlError(f"{path}: not a regular file", hint="save it to a file first")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise MssctlError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MssctlError(f"{path}: cannot be read: {reason}") from None
    if status.st_size == 0:
        raise MssctlError(f"{path}: an empty file", hint="is the file still being written?")
    return status.st_size, status.st_mtime_ns, status.st_ino
