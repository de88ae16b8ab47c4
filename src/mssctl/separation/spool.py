"""A place on disk for stems that wait until all of a song is known."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from mssctl.files import storage_error

_BLOCK = 65_536  # frames


class Spool:
    """Float samples on disk, in a file without a name that vanishes whatever happens.

    The mixture is kept next to the outputs, so that a song is decoded only once.

    Attributes:
        peaks: lowest and highest sample of the outputs so far, at least 0 apart from 0.
    """

    def __init__(self, folder: Path, with_mixture: bool) -> None:
        self.peaks = (0.0, 0.0)
        self._folder = folder
        self._with_mixture = with_mixture
        self._shape = (0, 0)

    def __enter__(self) -> Spool:
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder)
        except OSError as error:
            raise storage_error(self._folder, error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
        except OSError as problem:  # what was buffered no longer fits
            if kind is None:
                raise storage_error(self._folder, problem) from None

    def write(self, outputs: Tensor, mixture: Tensor) -> None:
        """Append ``(O, C, n)`` and ``(C, n)``."""
        low, high = torch.aminmax(outputs)
        self.peaks = (min(self.peaks[0], float(low)), max(self.peaks[1], float(high)))
        block = torch.cat([outputs, mixture[None]]) if self._with_mixture else outputs
        self._shape = (block.shape[0], block.shape[1])
        try:
            self._file.write(block.permute(2, 0, 1).contiguous().numpy().data)
        except OSError as error:
            raise storage_error(self._folder, error) from None

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All that was written, in blocks like those of `write`."""
        try:
            self._file.seek(0)  # flushes
        except OSError as error:
            raise storage_error(self._folder, error) from None
        rows, channels = self._shape
        while data := self._file.read(_BLOCK * rows * channels * 4):
            frames = np.frombuffer(data, dtype=np.float32).reshape(-1, rows, channels)
            block = torch.from_numpy(frames.transpose(1, 2, 0).copy())
            yield (block[:-1], block[-1]) if self._with_mixture else (block, block[0])
