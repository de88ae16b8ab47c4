"""A model applied to music of any sample rate: to its own rate and back."""

from collections.abc import Iterator
from itertools import tee

from torch import Tensor

from mssctl.audio.overlap import in_step
from mssctl.audio.resample import resample_stream
from mssctl.models.base import Separator
from mssctl.separation.stems import project, with_rest
from mssctl.separation.stream import Level, SeparationSettings, measured, separate_stream


def separate_at(
    model: Separator,
    blocks: Iterator[Tensor],
    settings: SeparationSettings,
    rates: tuple[int, int],
    level: Level | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Split a stream of any length, rate and channels; stems and mixture come back in step.

    Resampling loses what lies above the lower rate's Nyquist frequency, so the stems are made to
    add up here, after the way back, and not at the model's rate.

    Args:
        model: in eval mode.
        blocks: mixture ``(C, n)`` on the CPU.
        settings: how the model runs; ``mix_consistent`` has no effect.
        rates: of ``blocks`` and of what is wanted, Hz.
        level: from `level_of`.

    Yields:
        Stems ``(S, C, n)``, with the rest as one more where they lack some, and mixture ``(C, n)``.
    """
    rate, wanted = rates
    heard, mixture = tee(blocks)
    into = resample_stream(heard, rate, model.sample_rate)
    stems = separate_stream(model, into, settings, level)
    back = resample_stream(stems, model.sample_rate, wanted)
    # The way back may give a sample more than the song has; then the mixture ends first.
    for mix, part in in_step(resample_stream(mixture, rate, wanted), back):
        yield (project(part, mix, settings.taker) if model.complete else with_rest(part, mix)), mix


def level_of(
    model: Separator, blocks: Iterator[Tensor], settings: SeparationSettings, rate: int
) -> Level | None:
    """The level of a whole song, where the model is given one; else ``blocks`` are not touched."""
    if not settings.normalize:
        return None
    return measured(resample_stream(blocks, rate, model.sample_rate))
