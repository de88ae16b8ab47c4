"""Audio files that appear complete or not at all, written by libsndfile (soundfile)."""

import errno
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mssctl.audio.extent import extent
from mssctl.audio.pcm import native_name
from mssctl.errors import MssctlError
from mssctl.files import FileSet, storage_error


class AtomicWriter:
    """An audio file that appears complete or not at all, and replaces nothing by itself.

    Leaving the ``with`` block cleanly checks that all samples are on the disk and publishes the
    file; an error or an interrupt removes it.

    Args:
        path: the final name; its folder must exist.
        sample_rate: Hz.
        channels: per frame.
        format: container as libsndfile names it: ``WAV``, ``WAVEX``, ``RF64``, ``FLAC``, ``MP3``.
        subtype: sample format: ``PCM_16``, ``PCM_24``, ``FLOAT``, ``MPEG_LAYER_III``.
        files: publish it with these, which is then up to the caller.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int,
        channels: int,
        *,
        format: str = "WAV",  # noqa: A002 (libsndfile's word)
        subtype: str = "PCM_16",
        files: FileSet | None = None,
    ) -> None:
        self.path = path
        self._files = files or FileSet(path.parent)
        self._publishes = files is None
        self._shape = (sample_rate, channels)
        self._kind = (format, subtype)
        self._file: sf.SoundFile | None = None
        self._frames = 0

    def __enter__(self) -> Self:
        format_, subtype = self._kind
        mp3 = {"compression_level": 0.0, "bitrate_mode": "CONSTANT"} if format_ == "MP3" else {}
        try:
            self._temporary = self._files.add(self.path)
            self._temporary.touch()
            self._file = sf.SoundFile(
                native_name(self._temporary), "w", *self._shape, subtype, format=format_, **mp3
            )
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
            with sf.SoundFile(native_name(self._temporary)) as file:
                complete = file.frames == self._frames
                if self._frames and complete and self._kind[0] != "MP3":
                    file.seek(self._frames - 1)
                    complete = len(file.read(1)) == 1
        except (sf.LibsndfileError, OSError):
            complete = False
        if not complete or extent(self._temporary).missing:
            raise self._broken()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _discard(self) -> None:
        try:
            self._close()
        except sf.LibsndfileError:
            self._file = None  # closing could not flush; the file is removed anyway
        if self._publishes:
            self._files.discard()

    def _broken(self) -> MssctlError:
        """Why libsndfile could not write; it does not say."""
        free = shutil.disk_usage(self.path.parent).free
        number = errno.ENOSPC if free < 1 << 20 else errno.EIO
        return storage_error(self.path, OSError(number, os.strerror(number)))
