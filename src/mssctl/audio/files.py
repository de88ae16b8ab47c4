"""Audio files: what is in them, and blocks of samples out of them.

Reading goes through libsndfile (soundfile). Formats it lacks are in `audio.decode`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mssctl.audio.truncation import missing_bytes
from mssctl.errors import MssctlError

# MPEG decoders may give a frame or two (and the decoder delay) less than the file's own count.
_MPEG_SLACK = 4_096


@dataclass(frozen=True)
class AudioInfo:
    """What a file holds: ``frames`` samples of ``channels`` channels at ``sample_rate`` Hz."""

    path: Path
    frames: int
    sample_rate: int
    channels: int
    subtype: str

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


class UnknownFormatError(MssctlError):
    """libsndfile does not know what kind of file this is."""


def probe(path: Path) -> AudioInfo:
    """Read a file's header.

    Raises:
        MssctlError: not there, not readable, not audio (`UnknownFormatError`), cut off, or empty.
    """
    with _open(path) as file:
        frames, rate = int(file.frames), int(file.samplerate)
        info = AudioInfo(path, frames, rate, int(file.channels), str(file.subtype))
    missing = missing_bytes(path)
    if missing:
        lost = missing / (path.stat().st_size + missing)
        raise MssctlError(
            f"{path}: cut off: {missing} bytes that the header promises are missing ({lost:.0%})",
            hint="copy or export the file again",
        )
    if info.frames == 0:
        raise MssctlError(f"{path}: 0 frames of audio", hint="is the file still being written?")
    return info


def read(path: Path, start: int = 0, frames: int | None = None) -> NDArray[np.float32]:
    """Samples ``(C, n)`` from frame ``start`` on; all that follow if ``frames`` is None.

    Fewer than ``frames`` come back only at the end of the file.

    Raises:
        MssctlError: unreadable or damaged, or a sample is NaN or infinite.
    """
    with _open(path) as file:
        left = max(0, int(file.frames) - start)
        wanted = left if frames is None else min(frames, left)
        file.seek(min(start, int(file.frames)))
        block = _next_block(path, file, start, wanted)
        if block.shape[1] + _slack(file) < wanted:
            raise _ends_early(path, start + block.shape[1], file)
        return block


def blocks(path: Path, frames_per_block: int) -> Iterator[NDArray[np.float32]]:
    """The whole file as blocks ``(C, n)`` with ``n <= frames_per_block``.

    Raises:
        MssctlError: unreadable or damaged, or a sample is NaN or infinite.
    """
    with _open(path) as file:
        done = 0
        while (block := _next_block(path, file, done, frames_per_block)).shape[1]:
            done += block.shape[1]
            yield block
        if done + _slack(file) < file.frames:
            raise _ends_early(path, done, file)


@contextmanager
def _open(path: Path) -> Iterator[sf.SoundFile]:
    """Open for reading, with an error that names the file and the reason."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait for ever
            raise MssctlError(f"{path}: not a regular file", hint="save it to a file first")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise MssctlError(f"{path}: no such file") from None
    except OSError as error:
        raise MssctlError(f"{path}: cannot be read: {error.strerror}") from None
    if path.stat().st_size == 0:
        raise MssctlError(f"{path}: an empty file", hint="is the file still being written?")
    try:
        file = sf.SoundFile(native_name(path))
    except sf.LibsndfileError:
        raise UnknownFormatError(f"{path}: not an audio file that libsndfile knows") from None
    with file:
        yield file


def native_name(path: Path) -> str | bytes:
    """The name in the form in which soundfile takes any name that the system allows."""
    return os.fsencode(path) if os.name == "posix" else str(path)


def _next_block(path: Path, file: sf.SoundFile, start: int, frames: int) -> NDArray[np.float32]:
    """Up to ``frames`` samples from where the file stands, ``start``, checked to be finite."""
    try:
        block: NDArray[np.float32] = file.read(frames, dtype="float32", always_2d=True)
    except sf.LibsndfileError:
        raise MssctlError(
            f"{path}: damaged or cut off after {start / file.samplerate:.3f} s",
            hint="copy or export the file again",
        ) from None
    finite = np.isfinite(block)
    if not finite.all():
        first = start + int(np.argmin(finite.all(axis=1)))
        raise MssctlError(
            f"{path}: NaN or infinite sample at {first / file.samplerate:.3f} s",
            hint="export the file again; such a sample would spoil everything around it",
        )
    return np.ascontiguousarray(block.T)


def _slack(file: sf.SoundFile) -> int:
    return _MPEG_SLACK if str(file.format) == "MP3" else 0


def _ends_early(path: Path, done: int, file: sf.SoundFile) -> MssctlError:
    rate = file.samplerate
    return MssctlError(
        f"{path}: cut off: {done / rate:.2f} s of audio instead of {file.frames / rate:.2f} s",
        hint="copy or export the file again",
    )
