"""Audio files that appear complete or not at all.

PCM, FLAC and Ogg Vorbis are written by libsndfile (soundfile), the rest by `audio.lossy`.
"""

import errno
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mssctl.audio.encoding import Encoding
from mssctl.audio.extent import extent
from mssctl.audio.files import probe
from mssctl.audio.metadata import Tags
from mssctl.audio.pcm import native_name
from mssctl.errors import MssctlError
from mssctl.files import FileSet, storage_error

_BY_FFMPEG = frozenset({"MP3", "M4A", "OPUS"})
_LOST = 64  # samples that an mp4 file may lose at its end: it counts in milliseconds


class _File(Protocol):
    """What is asked of soundfile's files, and ours."""

    def write(self, frames: Any, /) -> None:
        """Append ``(n, C)`` samples."""

    def close(self) -> None:
        """Finish the file."""


class AtomicWriter:
    """An audio file that appears complete or not at all, and replaces nothing by itself.

    Leaving the ``with`` block cleanly checks that all samples are on the disk and publishes the
    file; an error or an interrupt removes it.

    Args:
        path: the final name; its folder must exist.
        sample_rate: Hz.
        channels: per frame.
        encoding: container and sample format.
        files: publish it with these, which is then up to the caller.
        tags: of the recording.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int,
        channels: int,
        encoding: Encoding = Encoding(),  # noqa: B008 (frozen)
        files: FileSet | None = None,
        tags: Tags = Tags(),  # noqa: B008 (frozen)
    ) -> None:
        self.path = path
        self._files = files or FileSet(path.parent)
        self._publishes = files is None
        self._shape = (sample_rate, channels)
        self._encoding, self._tags = encoding, tags
        self._file: _File | None = None
        self._frames = 0

    def __enter__(self) -> Self:
        try:
            self._temporary = self._files.add(self.path)
            self._temporary.touch()
            self._file = self._opened()
        except OSError as error:
            self._discard()
            raise storage_error(self.path, error) from None
        except (sf.LibsndfileError, ValueError) as error:
            self._discard()
            raise MssctlError(f"{self.path}: cannot be written: {error}") from None
        except BaseException:
            self._discard()
            raise
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
            self._finish()
            if self._publishes:
                self._files.publish()
        except OSError as problem:
            raise storage_error(self.path, problem) from None
        finally:
            self._discard()

    def _finish(self) -> None:
        """Close the temporary file and make sure that its last sample is really there."""
        try:
            self._close()
            if self._encoding.container == "FLAC" and self._tags:
                from mssctl.audio.lossy import tag_flac  # noqa: PLC0415 (FFmpeg is slow to load)

                tag_flac(self._temporary, self._tags)
            complete = self._is_complete()
        except (sf.LibsndfileError, OSError, MssctlError):
            complete = False
        if not complete or extent(self._temporary).missing:
            raise self._broken()

    def _is_complete(self) -> bool:
        if self._encoding.container in _BY_FFMPEG:
            lost = _LOST if self._encoding.container == "M4A" else 0
            return probe(self._temporary).frames >= self._frames - lost
        with sf.SoundFile(native_name(self._temporary)) as file:
            if self._frames == file.frames and self._frames:
                file.seek(self._frames - 1)
                return len(file.read(1)) == 1
            return bool(self._frames == file.frames)

    def _opened(self) -> _File:
        container, subtype = self._encoding.container, self._encoding.subtype
        if container in _BY_FFMPEG:
            from mssctl.audio.lossy import LossyFile  # noqa: PLC0415 (FFmpeg is slow to load)

            return LossyFile(self._temporary, *self._shape, self._encoding, self._tags)
        name = native_name(self._temporary)
        more = {"compression_level": 0.0} if container == "OGG" else {}
        file = sf.SoundFile(name, "w", *self._shape, subtype, format=container, **more)
        if container != "FLAC":
            self._tags.into_pcm(file)
        return file  # type: ignore[no-any-return]

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _discard(self) -> None:
        try:
            self._close()
        except (sf.LibsndfileError, OSError):
            self._file = None  # closing could not flush; the file is removed anyway
        if self._publishes:
            self._files.discard()

    def _broken(self) -> MssctlError:
        """Why libsndfile could not write; it does not say."""
        free = shutil.disk_usage(self.path.parent).free
        number = errno.ENOSPC if free < 1 << 20 else errno.EIO
        return storage_error(self.path, OSError(number, os.strerror(number)))
