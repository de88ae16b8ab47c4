"""PCM files through libsndfile (soundfile): wav, rf64, w64, aiff, au, caf and their like."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mssctl.audio import formats
from mssctl.audio.errors import absurd, bytes_missing, cut_off, damaged, no_frames
from mssctl.audio.extent import Extent, extent
from mssctl.audio.part import Part
from mssctl.audio.source import Facts, Note

# libsndfile reads MPEG and the like in these containers, too; FFmpeg is better at it.
_PCM = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "DPCM_")
_WIDTHS = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}  # bytes
_HEAD = 4_096  # bytes in which a header names its codec
_BLOCK = 65_536  # samples per channel read at once


@dataclass(frozen=True)
class PcmSource:
    """A file that libsndfile reads, see `mssctl.audio.source.Source`."""

    path: Path
    facts: Facts
    extent: Extent

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """None if it is no PCM file, or its header leaves the length open.

        Raises:
            MssctlError: the file is shorter than its header states.
        """
        with path.open("rb") as raw:
            if not formats.is_pcm(raw.read(_HEAD)):
                return None
        found = extent(path)
        try:
            with _opened(path, found) as file:
                subtype, frames = str(file.subtype), int(file.frames)
                rate, channels = int(file.samplerate), int(file.channels)
                width = _WIDTHS.get(subtype, 0) * channels
        except sf.LibsndfileError:
            return None
        if not subtype.startswith(_PCM):
            return None
        if formats.is_absurd(rate, channels):
            raise absurd(path, rate, channels)
        if found.missing:
            raise bytes_missing(path, found.missing)
        if found.samples == 0:
            raise no_frames(path)
        if found.samples is not None and width:
            frames = min(frames, found.samples // width)
        if not frames:
            return None
        notes = [] if found.known else ["this format does not show whether the file is complete"]
        return cls(path, Facts(rate, channels, subtype, frames, tuple(notes)), found)

    def whole(self, note: Note) -> Iterator[NDArray[np.float32]]:
        """All samples."""
        if self.extent.after:
            note(f"{self.extent.after} bytes after the end that the header states are not read")
        yield from self._blocks(0)

    def excerpt(self, start: int) -> Iterator[NDArray[np.float32]]:
        """Samples from ``start`` on."""
        return self._blocks(start)

    def _blocks(self, start: int) -> Iterator[NDArray[np.float32]]:
        rate, frames = self.facts.sample_rate, self.facts.stated or 0
        done = min(start, frames)
        try:
            with _opened(self.path, self.extent) as file:
                file.seek(done)
                while done < frames:
                    wanted = min(_BLOCK, frames - done)
                    block = file.read(wanted, dtype="float32", always_2d=True)
                    done += len(block)
                    yield block.T
                    if len(block) < wanted:
                        break
        except sf.LibsndfileError:
            raise damaged(self.path, done / rate, "the samples cannot be read") from None
        if done < frames:
            raise cut_off(self.path, done / rate, frames / rate)


@contextmanager
def _opened(path: Path, found: Extent) -> Iterator[sf.SoundFile]:
    """Open a file without what lies after its end: some formats would be read beyond it."""
    if not found.after:
        with sf.SoundFile(native_name(path)) as file:
            yield file
        return
    size = path.stat().st_size - found.after
    with Part(path, [(0, size)]) as part, sf.SoundFile(part) as file:
        yield file


def native_name(path: Path) -> str | bytes:
    """The name in the form in which soundfile takes any name that the system allows."""
    return os.fsencode(path) if os.name == "posix" else str(path)
