"""Sample rates: the one module that uses torchaudio, for its resampling kernels only."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mssctl.errors import MssctlError

if TYPE_CHECKING:
    from torchaudio.transforms import Resample

# 64 zero crossings and a Kaiser window: flat up to 0.94 of the lower Nyquist frequency, aliases
# below -100 dB. (torchaudio's documentation calls these values "kaiser_best".)
_WIDTH = 64
_ROLLOFF = 0.9475937167399596
_BETA = 14.769656459379492

# Samples that a stream resamples at once, roughly.
_PIECE = 16_384

# The kernel has one row per phase; rates without a common divisor would need gigabytes.
_MAX_KERNEL = 16_000_000


def resampled_length(frames: int, source: int, target: int) -> int:
    """Number of samples that ``frames`` samples become."""
    return -(-frames * target // source)


def resample(wave: Tensor, source: int, target: int) -> Tensor:
    """Resample ``(..., N)`` from ``source`` Hz to ``target`` Hz in one piece.

    Raises:
        MssctlError: the rates have no usable common divisor.
    """
    if source == target:
        return wave
    out: Tensor = _kernel(source, target)(wave)
    return out


def resample_stream(blocks: Iterator[Tensor], source: int, target: int) -> Iterator[Tensor]:
    """Resample a stream of ``(..., n)`` blocks; the same samples as `resample` of the whole.

    Holds one block and the reach of the filter. Yields nothing for an empty stream.

    Raises:
        MssctlError: the rates have no usable common divisor.
    """
    if source == target:
        yield from blocks
        return
    kernel = _kernel(source, target)
    step, new = source // math.gcd(source, target), target // math.gcd(source, target)
    margin = -(-int(kernel.width) // step)  # in steps: what the filter reaches on each side
    # Pieces of one length: the convolution library keeps a plan for every length it meets.
    piece = -(-_PIECE // step)
    held: Tensor | None = None  # begins with `margin` steps of context
    total = given = 0
    for block in blocks:
        total += block.shape[-1]
        before = block.new_zeros(*block.shape[:-1], margin * step) if held is None else held
        held = torch.cat([before, block], dim=-1)
        while held.shape[-1] >= (piece + 2 * margin) * step:
            out = kernel(held[..., : (piece + 2 * margin) * step])
            given += piece * new
            yield out[..., margin * new : (margin + piece) * new]
            held = held[..., piece * step :]
    if held is not None:
        rest = resampled_length(total, source, target) - given
        yield kernel(held)[..., margin * new : margin * new + rest]


def _kernel(source: int, target: int) -> "Resample":
    divisor = math.gcd(source, target)
    reach = 2 * _WIDTH * max(1.0, source / target) + source / divisor
    if target / divisor * reach > _MAX_KERNEL:
        raise MssctlError(
            f"{source} Hz cannot be resampled to {target} Hz: no usable common divisor",
            hint="convert the file to 44100 or 48000 Hz first",
        )
    # Imported here: most songs have the model's rate and need not wait for it.
    from torchaudio.transforms import Resample  # noqa: PLC0415

    return Resample(
        source,
        target,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=_WIDTH,
        rolloff=_ROLLOFF,
        beta=_BETA,
    )
