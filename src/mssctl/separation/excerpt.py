"""The part of a song that is separated."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mssctl.audio import files
from mssctl.audio.files import AudioInfo
from mssctl.audio.source import Note, silent
from mssctl.errors import MssctlError

_BLOCK = 65_536  # frames read at once


@dataclass(frozen=True)
class Excerpt:
    """Where in a song it begins, and how long it is; by default the whole song.

    Attributes:
        start: seconds.
        duration: seconds; None: to the song's end.
    """

    start: float = 0.0
    duration: float | None = None

    def frames(self, info: AudioInfo) -> int:
        """Its length in a song, in the song's frames; 0 where the song states no length.

        Raises:
            MssctlError: it begins after the song's end, or has no sample.
        """
        start, stop = self._range(info.sample_rate)
        if info.frames and start >= info.frames:
            raise MssctlError(
                f"{info.path}: ends at {info.seconds:.3f} s, before `start` {self.start:g} s"
            )
        if stop == start:
            raise MssctlError(f"`duration` {self.duration:g} s: less than a sample")
        return max(0, (info.frames if stop is None else min(stop, info.frames)) - start)

    def of(self, info: AudioInfo, note: Note = silent) -> Iterator[Tensor]:
        """Its blocks ``(C, n)``; ``note`` as in `files.blocks`, if it is the whole song."""
        start, stop = self._range(info.sample_rate)
        at = 0
        for block in files.blocks(info.path, _BLOCK, note):
            length = block.shape[1]
            last = length if stop is None else min(length, stop - at)
            if last > (first := max(0, start - at)):
                yield torch.from_numpy(block[:, first:last])
            at += length
            if stop is not None and at >= stop:
                return

    def _range(self, rate: int) -> tuple[int, int | None]:
        start = round(self.start * rate)
        return start, None if self.duration is None else start + round(self.duration * rate)
