"""A model applied to music of any length and number of channels: the one way to do it.

Validation, ``eval`` and ``separate`` all come through here.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import tee
from math import sqrt
from typing import Self

import torch
from torch import Tensor

from mssctl.audio.overlap import Edges, Fade, in_step, overlap_add
from mssctl.errors import ExitCode, MssctlError
from mssctl.hardware.device import autocast
from mssctl.models.base import Separator
from mssctl.models.run_config import RunConfig
from mssctl.separation.stems import project

# What to do where a dtype does not do.
_WIDER = {
    "float16": "use `dtype=fp32`: float16 ends at 65504",
    "bfloat16": "use `dtype=fp32`",
}

# Added to the deviation of a song.
_STD_FLOOR = 1e-8

# Longest random shift of the segments' grid, in seconds.
_MAX_SHIFT = 0.5


class NotFiniteError(MssctlError):
    """A model's output has NaN or infinite samples."""


@dataclass(frozen=True)
class SeparationSettings:
    """How a song is cut and computed.

    Attributes:
        segment: samples per segment, at the model's rate.
        overlap: fraction of a segment shared with the next.
        fade: cross-fade, ``hann`` or ``linear``.
        edges: what surrounds a song, see `overlap_add`.
        normalize: give the model the song at a standard level, see `measured`.
        batch_size: segments per forward pass.
        amp_dtype: autocast inside the model: ``bfloat16`` or ``float32``.
        taker: index of the stem that takes what the stems lack of the mixture; None: all do.
        mix_consistent: share what the stems lack of the mixture equally among them, where the
            model gives all that the mixture is made of.
        shifts: passes to average; all but the first with a random shift of the segments.
        seed: of the random shifts.
        tta: average over the mixture, its opposite polarity, and its channels swapped.
    """

    segment: int
    overlap: float = 0.25
    fade: Fade = "hann"
    edges: Edges = "reflect"
    normalize: bool = False
    batch_size: int = 1
    amp_dtype: str = "float32"
    taker: int | None = None
    mix_consistent: bool = True
    shifts: int = 1
    seed: int = 0
    tta: bool = False

    @classmethod
    def from_config(
        cls,
        config: RunConfig,
        *,
        segment_seconds: float | None = None,
        overlap: float | None = None,
        batch_size: int | None = None,
        amp_dtype: str = "float32",
        mix_consistent: bool = True,
        shifts: int = 1,
        seed: int = 0,
    ) -> Self:
        """The settings of a model's configuration, with what is given here instead."""
        wanted = config.separation
        seconds = wanted.segment_seconds if segment_seconds is None else segment_seconds
        return cls(
            segment=config.training.segment_length
            if seconds is None
            else max(1, round(seconds * config.audio.sample_rate)),
            overlap=wanted.overlap if overlap is None else overlap,
            fade=wanted.fade,
            edges=wanted.edges,
            normalize=wanted.normalize,
            taker=_taker(config),
            batch_size=wanted.batch_size if batch_size is None else batch_size,
            amp_dtype=amp_dtype,
            mix_consistent=mix_consistent,
            shifts=shifts,
            seed=seed,
        )


def _taker(config: RunConfig) -> int | None:
    stem, stems = config.separation.residual, config.audio.stems
    return stems.index(stem) if stem in stems else None


@dataclass(frozen=True)
class Level:
    """Mean and standard deviation of the mean of a song's channels."""

    mean: float = 0.0
    std: float = 1.0

    def remove(self, wave: Tensor) -> Tensor:
        """Bring a part of the song to mean 0 and deviation 1."""
        return (wave - self.mean) / (self.std + _STD_FLOOR)

    def restore(self, wave: Tensor) -> Tensor:
        """Bring a stem back to the song's level."""
        return wave * (self.std + _STD_FLOOR) + self.mean


def measured(blocks: Iterator[Tensor]) -> Level:
    """The level of a stream of blocks ``(C, n)``, in constant memory and float64."""
    count, mean, squares = 0, 0.0, 0.0  # squares: of the distances from the mean
    for block in blocks:
        if not (new := block.shape[-1]):
            continue
        mono = block.mean(dim=0).double()
        distance = float(mono.mean()) - mean
        squares += float((mono - mono.mean()).square().sum())
        squares += distance**2 * count * new / (count + new)
        mean += distance * new / (count + new)
        count += new
    return Level(mean, sqrt(squares / max(1, count - 1)))


@torch.inference_mode()
def separate_stream(
    model: Separator,
    blocks: Iterator[Tensor],
    settings: SeparationSettings,
    level: Level | None = None,
) -> Iterator[Tensor]:
    """Split a stream of any length; memory does not grow with it.

    Args:
        model: in eval mode.
        blocks: mixture as blocks ``(C, n)`` at the model's rate, on the CPU. Another number of
            channels than the model's is handled as `channel_groups` says.
        settings: how to cut and compute.
        level: of the whole stream, where ``settings.normalize`` asks for it.

    Yields:
        ``(S, C, n)`` float32 on the CPU, in order; the lengths add up to the mixture's.

    Raises:
        NotFiniteError: the model's output is not finite.
        ValueError: the level is needed.
    """
    if settings.normalize and level is None:
        raise ValueError("normalize: the level of the whole stream is missing")
    shifts = _shifts(settings, model.sample_rate)
    *sources, mixture = tee(blocks, len(shifts) + 1)
    passes = [
        overlap_add(
            source if level is None else map(level.remove, source),
            partial(_apply, model, settings),
            segment=settings.segment,
            overlap=settings.overlap,
            fade=settings.fade,
            edges=settings.edges,
            batch_size=settings.batch_size,
            shift=shift,
        )
        for source, shift in zip(sources, shifts, strict=True)
    ]
    for *results, mix in in_step(*passes, mixture):
        stems = results[0] if len(results) == 1 else torch.stack(results).mean(dim=0)
        stems = stems if level is None else level.restore(stems)
        yield (
            project(stems, mix, settings.taker)
            if settings.mix_consistent and model.complete
            else stems
        )


def separate_array(model: Separator, mix: Tensor, settings: SeparationSettings) -> Tensor:
    """Split one mixture ``(C, N)`` into ``(S, C, N)``: `separate_stream` of a single block."""
    level = measured(iter([mix])) if settings.normalize else None
    return torch.cat(list(separate_stream(model, iter([mix]), settings, level)), dim=-1)


@contextmanager
def memory_errors(song: object) -> Iterator[None]:
    """Turn torch's lack of memory into an error that names the song and a way out.

    On a GPU torch has an exception of its own for it, on the CPU only words.

    Raises:
        MssctlError: the memory does not suffice (exit 4).
    """
    try:
        yield
    except RuntimeError as error:
        words = "can't allocate memory" in str(error) or "not enough memory" in str(error)
        if not (words or isinstance(error, torch.OutOfMemoryError)):
            raise
        raise MssctlError(
            f"{song}: out of memory: {str(error).splitlines()[0]}",
            hint="a shorter `segment` or a smaller `batch` needs less memory",
        ) from None


def channel_groups(channels: int, model_channels: int) -> list[list[int]]:
    """Which channels of a song go through the model together.

    Consecutive ones; where the last group is not full its last channel is repeated, and the
    model's outputs for it are averaged. Mono through a stereo model is ``[[0, 0]]``, 5.1 is
    ``[[0, 1], [2, 3], [4, 5]]`` (front, center and low, back), stereo through a mono model is
    ``[[0], [1]]``.
    """
    starts = range(0, channels, model_channels)
    return [[min(c, channels - 1) for c in range(s, s + model_channels)] for s in starts]


def _shifts(settings: SeparationSettings, sample_rate: int) -> list[int]:
    rng = random.Random(settings.seed)  # noqa: S311 (no secret)
    longest = round(_MAX_SHIFT * sample_rate)
    return [0, *(rng.randint(1, longest) for _ in range(settings.shifts - 1))]


def _apply(model: Separator, settings: SeparationSettings, mix: Tensor) -> Tensor:
    """``(B, C, N) -> (B, S, C, N)`` for any ``C``, group by group."""
    channels = mix.shape[1]
    parts = []
    for group in channel_groups(channels, model.channels):
        part = mix if channels == model.channels else mix[:, group]
        out = _forward(model, settings.amp_dtype, part)
        if settings.tta:
            others = [-_forward(model, settings.amp_dtype, -part)]
            if model.channels > 1:
                others.append(_forward(model, settings.amp_dtype, part.flip(1)).flip(2))
            out = torch.stack([out, *others]).mean(dim=0)
        for channel in dict.fromkeys(group):
            same = [i for i, c in enumerate(group) if c == channel]
            parts.append(out[:, :, same].mean(dim=2) if len(same) > 1 else out[:, :, same[0]])
    return torch.stack(parts, dim=2)


def _forward(model: Separator, amp_dtype: str, mix: Tensor) -> Tensor:
    device = next((p.device for p in model.parameters()), mix.device)
    with autocast(device, amp_dtype):
        out: Tensor = model(mix.to(device))
    out = out.float().cpu()
    if not torch.isfinite(out).all():
        raise NotFiniteError(
            f"the model's output has NaN or infinite samples ({amp_dtype})",
            hint=_WIDER.get(amp_dtype, "the weights may be damaged"),
            exit_code=ExitCode.FAILED,
        )
    return out
