"""Audio files: what is in them, blocks of samples out of them, and files that appear whole.

Reading and writing go through libsndfile (soundfile). Formats it lacks are in `audio.decode`.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mssctl.audio.truncation import missing_bytes
from mssctl.errors import ExitCode, MssctlError

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
        file = sf.SoundFile(_native(path))
    except sf.LibsndfileError:
        raise UnknownFormatError(f"{path}: not an audio file that libsndfile knows") from None
    with file:
        yield file


def _native(path: Path) -> str | bytes:
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


class AtomicWriter:
    """An audio file that appears whole or not at all.

    Samples go to a temporary name in the same folder. Leaving the ``with`` block cleanly gives
    the file its own name; an error or an interrupt removes it.

    Args:
        path: the final name; its folder must exist.
        sample_rate: Hz.
        channels: per frame.
        format: container as libsndfile names it: ``WAV``, ``WAVEX``, ``RF64``, ``FLAC``, ``MP3``.
        subtype: sample format: ``PCM_16``, ``PCM_24``, ``FLOAT``, ``MPEG_LAYER_III``.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int,
        channels: int,
        *,
        format: str = "WAV",  # noqa: A002 (libsndfile's word)
        subtype: str = "PCM_16",
    ) -> None:
        self.path = path
        self._temporary = path.with_name(f".mssctl-{secrets.token_hex(8)}.part")
        self._shape = (sample_rate, channels)
        self._kind = (format, subtype)
        self._file: sf.SoundFile | None = None
        self._frames = 0
        self._finished = False
        self._published = False

    def __enter__(self) -> AtomicWriter:
        format_, subtype = self._kind
        mp3 = {"compression_level": 0.0, "bitrate_mode": "CONSTANT"} if format_ == "MP3" else {}
        try:
            self._temporary.touch()
            self._file = sf.SoundFile(
                _native(self._temporary), "w", *self._shape, subtype, format=format_, **mp3
            )
        except OSError as error:
            self._discard()
            raise storage_error(self.path, error) from None
        except (sf.LibsndfileError, ValueError) as error:
            self._discard()
            raise MssctlError(f"{self.path}: cannot be written: {error}") from None
        return self

    def write(self, block: NDArray[np.float32] | NDArray[np.int16] | NDArray[np.int32]) -> None:
        """Append ``(C, n)`` samples: float, or integers that fill their type (24 bit: << 8)."""
        assert self._file is not None, "used outside its with block"
        # soundfile asserts that everything was written; on a full disk it was not.
        try:
            self._file.write(block.T)
        except (sf.LibsndfileError, AssertionError, OSError):
            raise self._broken() from None
        self._frames += block.shape[1]

    def finish(self) -> None:
        """Close the temporary file and make sure that its last sample is really there."""
        if self._finished:
            return
        try:
            self._close()
            with sf.SoundFile(_native(self._temporary)) as file:
                whole = file.frames == self._frames
                if self._frames and whole and self._kind[0] != "MP3":
                    file.seek(self._frames - 1)
                    whole = len(file.read(1)) == 1
        except (sf.LibsndfileError, OSError):
            whole = False
        if not whole or missing_bytes(self._temporary):
            raise self._broken()
        self._finished = True

    def retract(self) -> None:
        """Take a file back that has its name already, because one that belongs to it failed."""
        if self._published:
            self.path.unlink(missing_ok=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self.finish()
            self._temporary.replace(self.path)
            self._published = True
        except OSError as problem:
            self._discard()
            raise storage_error(self.path, problem) from None
        except BaseException:
            self._discard()
            raise

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _discard(self) -> None:
        try:
            self._close()
        except sf.LibsndfileError:
            self._file = None  # closing could not flush; the file goes away all the same
        self._temporary.unlink(missing_ok=True)

    def _broken(self) -> MssctlError:
        """The reason why libsndfile could not write, which it does not tell."""
        free = shutil.disk_usage(self.path.parent).free
        number = errno.ENOSPC if free < 1 << 20 else errno.EIO
        return storage_error(self.path, OSError(number, os.strerror(number)))


_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose another folder with --out"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another --out"),
    errno.EFBIG: ("the file system allows no file of this size", "choose another --out"),
    errno.EACCES: ("no permission to write there", "choose another folder with --out"),
    errno.EPERM: ("no permission to write there", "choose another folder with --out"),
    errno.EROFS: ("the file system is read-only", "choose another folder with --out"),
    errno.ENOTDIR: ("a file is in the place of a folder", "choose another folder with --out"),
    errno.EEXIST: ("a file is in the place of a folder", "choose another folder with --out"),
    errno.ENAMETOOLONG: ("the name is too long", "give shorter names with --filename"),
}


def storage_error(path: Path, error: OSError) -> MssctlError:
    """What a failed write means for the user."""
    reason, hint = _REASONS.get(error.errno or 0, (error.strerror or str(error), None))
    return MssctlError(
        f"{path}: cannot be written: {reason}", hint=hint, exit_code=ExitCode.ENVIRONMENT
    )
