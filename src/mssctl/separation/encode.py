"""Writing stems: sample format, clipping, and all files of a song at once or none."""

import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mssctl.audio.encoding import Encoding
from mssctl.audio.files import AudioInfo
from mssctl.audio.metadata import Tags
from mssctl.audio.writer import AtomicWriter
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import FileSet, storage_error
from mssctl.hardware.machine import GIB
from mssctl.options.separate import ClipMode, Existing
from mssctl.separation.outputs import (
    EXISTING_HINT,
    REDO_HINT,
    already_there,
    folder_for_outputs,
    same_samples,
)
from mssctl.separation.stems import quantize

_BLOCK = 65_536  # frames
Samples = NDArray[np.float32] | NDArray[np.int16] | NDArray[np.int32]


@dataclass(frozen=True)
class Target:
    """The files of one song.

    Attributes:
        paths: one file per output.
        info: rate, channels and length of the stems.
        encoding: of the files.
        clip_mode: what to do with samples beyond full scale.
        complete: whether the outputs add up to the mixture.
        existing: what to do with files that are there already.
        peak: bring the highest peak of all stems here, dBFS; None leaves it where it is.
        tags: of the song.
    """

    paths: Sequence[Path]
    info: AudioInfo
    encoding: Encoding
    clip_mode: ClipMode
    complete: bool
    existing: Existing = "error"
    peak: float | None = None
    tags: Tags = field(default_factory=Tags)

    @property
    def needs_peaks(self) -> bool:
        """Whether the samples are scaled by what is known at their end only."""
        return self.clip_mode == "rescale" or self.peak is not None

    @property
    def needs_mixture(self) -> bool:
        """Whether the outputs are rounded so that they add up to the mixture."""
        return self.complete and self.encoding.bits is not None


def write_stems(
    separated: Iterator[tuple[Tensor, Tensor]], target: Target, scratch: Path
) -> tuple[float, list[str]]:
    """Write a stream of outputs ``(O, C, n)`` to files that appear together at the end.

    Each block of outputs comes with the mixture ``(C, n)`` it was made from.

    Files that are to stay as they are (``skip``) must hold the same audio as the new ones. With
    ``rescale`` the samples first go to an unnamed file in ``scratch``, until it is known whether
    all of them fit; memory does not grow with the song.

    Returns:
        The gain of all stems, and what was done to the samples, in words.

    Raises:
        MssctlError: a file cannot be written, is there already, or is to stay and holds something
            else; then no new one is there, and the old ones are.
    """
    _check_space(target, scratch)
    notes: list[str] = []
    gain = 1.0
    with ExitStack() as stack:
        if target.needs_peaks:
            spool = stack.enter_context(Spool(scratch, target.needs_mixture))
            for outputs, mixture in separated:
                spool.write(outputs, mixture)
            gain, notes = _common_gain(spool.peaks, target)
            separated = spool.blocks()
        for folder in dict.fromkeys(path.parent for path in target.paths):
            stack.enter_context(folder_for_outputs(folder))
        notes += _write_all(separated, target, gain, scratch)
    if target.encoding.container == "RF64":
        notes.append("more than 4 GiB per stem: written as RF64 WAV")
    return gain, notes


def _write_all(
    separated: Iterator[tuple[Tensor, Tensor]], target: Target, gain: float, scratch: Path
) -> list[str]:
    """Write all files, and only then give them their names: all of them or none."""
    keep = already_there(target.paths, target.existing)
    try:
        with FileSet(
            scratch, overwrite=target.existing == "overwrite", keep=keep, hint=EXISTING_HINT
        ) as files:
            with ExitStack() as stack:
                writers = [
                    stack.enter_context(
                        AtomicWriter(
                            path,
                            target.info.sample_rate,
                            target.info.channels,
                            target.encoding,
                            files,
                            target.tags,
                        )
                    )
                    for path in target.paths
                ]
                notes = _encode(separated, target, gain, writers)
            for path in keep:
                if not same_samples(files.written(path), path):
                    raise MssctlError(
                        f"{path}: exists already and is not this model's with these settings; "
                        "other stems of this song are missing",
                        hint=REDO_HINT,
                    )
    except OSError as error:
        raise storage_error(Path(error.filename or scratch), error) from None
    if keep:
        notes.append(f"{len(keep)} of {len(target.paths)} stems were there already and are kept")
    return notes


def _encode(
    separated: Iterator[tuple[Tensor, Tensor]],
    target: Target,
    gain: float,
    writers: Sequence[AtomicWriter],
) -> list[str]:
    clipped = 0
    writing: list[Future[None]] = []  # of the block before: encoders work beside what follows
    with ThreadPoolExecutor(len(writers)) as pool:
        for coded, over in _coded(separated, target, gain):
            clipped += over
            for one in writing:
                one.result()
            writing = [pool.submit(w.write, part) for w, part in zip(writers, coded, strict=True)]
        for one in writing:
            one.result()
    if not clipped:
        return []
    return [f"{clipped} samples clipped at full scale: there the stems do not add up"]


def _coded(
    separated: Iterator[tuple[Tensor, Tensor]], target: Target, gain: float
) -> Iterator[tuple[Samples, int]]:
    """Blocks ``(O, C, n)`` as they are written, and how many samples of each were clipped."""
    for outputs, mixture in separated:
        scaled = outputs.numpy() * np.float32(gain)
        total = mixture.numpy() * np.float32(gain) if target.needs_mixture else None
        if target.encoding.bits:
            yield _integers(scaled, target.encoding.bits, total)
        else:
            over = int((np.abs(scaled) > 1).sum()) if target.clip_mode == "clamp" else 0
            yield (np.clip(scaled, -1, 1) if over else scaled), over


def _integers(
    stems: NDArray[np.float32], bits: int, total: NDArray[np.float32] | None
) -> tuple[Samples, int]:
    """Samples in the layout that `AtomicWriter.write` takes, and how many were clipped."""
    rounded, clipped = quantize(stems, bits, total)
    return (rounded.astype(np.int16) if bits == 16 else rounded << (32 - bits)), clipped


def _common_gain(peaks: tuple[float, float], target: Target) -> tuple[float, list[str]]:
    """One gain for all stems that brings the peaks ``(lowest, highest)`` to where they belong."""
    step = 2.0 ** (1 - target.encoding.bits) if target.encoding.bits else 0.0
    excess = max(-peaks[0], peaks[1] / (1 - step))
    if target.peak is not None and excess:
        gain = 10 ** (target.peak / 20) / excess
        note = (
            f"peak {20 * math.log10(excess):+.2f} dBFS brought to {target.peak:+.2f}: all stems "
            f"scaled by {gain:.4f}; they add up to the input scaled by that factor"
        )
        return gain, [note]
    # A quarter of a step beyond full scale rounds back into it.
    if excess <= 1 + step / 4 or target.clip_mode != "rescale":
        return 1.0, []
    note = (
        f"peak {20 * math.log10(excess):+.2f} dBFS: all stems scaled by {1 / excess:.4f}, so that "
        "none clips; they add up to the input scaled by that factor"
    )
    return 1 / excess, [note]


def _check_space(target: Target, scratch: Path) -> None:
    """Refuse to start what the disk cannot hold (a lossy or packed format may need less)."""
    samples = target.info.frames * target.info.channels * len(target.paths)
    needed = samples * target.encoding.bytes_per_sample
    if target.needs_peaks:
        spooled = len(target.paths) + target.needs_mixture
        needed += target.info.frames * target.info.channels * spooled * 4
    free = shutil.disk_usage(scratch).free
    if needed > free:
        raise MssctlError(
            f"{scratch}: the disk is too full: {needed / GIB:.2f} GiB needed, "
            f"{free / GIB:.2f} GiB free",
            hint="free some space, or choose another folder with `out`",
            exit_code=ExitCode.ENVIRONMENT,
        )


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

    def __enter__(self) -> Self:
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
