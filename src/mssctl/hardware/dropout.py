"""Dropout on a CPU: sixteen random bits decide for each value.

PyTorch's own draws a number of double precision per value, one after the other, which took up to
two fifths of a training step on a CPU (docs/experiments.md). Everywhere else it is left to PyTorch.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

_LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`; on a CPU the probability is kept to the nearest 1/65536.

    What is kept is divided by the share that is kept, so the mean stays as it was.
    """

    def __init__(self, p: float) -> None:
        super().__init__(p)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (its name in torch)
        """Drop values while training."""
        if input.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(input, self.p, self.training)
        if not self.training or not drops(self.p):
            return input
        y: Tensor = _Drop.apply(input, kept_levels(self.p))  # type: ignore[no-untyped-call]
        return y


def kept_levels(p: float) -> int:
    """How many of 65536 values are kept where the fraction ``p`` is to be dropped; at least 1."""
    return max(1, _LEVELS - round(p * _LEVELS))


def drops(p: float) -> bool:
    """Whether any of 65536 values is dropped."""
    return kept_levels(p) < _LEVELS


def keep_bits(shape: torch.Size, kept: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw which values are kept: int16 of ``shape``, -1 (all bits set) for those, else 0.

    Args:
        shape: of the values.
        kept: of 65536, fewer than all; from `kept_levels`.
        generator: on the CPU; None: PyTorch's own, so that checkpoints and recomputation repeat it.
    """
    words = torch.empty((shape.numel() + 3) // 4, dtype=torch.int64)
    # Without bounds, random_ would leave the sign bit unset.
    bits = words.random_(-(2**63), None, generator=generator).view(torch.int16)
    first_dropped = kept - _LEVELS // 2
    bits.clamp_(first_dropped - 1, first_dropped).sub_(first_dropped)
    return bits[: shape.numel()].view(shape)


def kept_scale(kept: int) -> float:
    """What the kept values are multiplied by."""
    return _LEVELS / kept


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: int) -> Tensor:
        keep = keep_bits(x.shape, kept)
        ctx.save_for_backward(keep)
        ctx.scale = kept_scale(kept)
        return _masked(x, keep, ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return _masked(grad, keep, ctx.scale), None


def _masked(x: Tensor, keep: Tensor, scale: float) -> Tensor:
    """``x`` where ``keep`` is -1, times ``scale``; otherwise 0."""
    if x.element_size() == keep.element_size():  # bits are quicker than products
        return (x.view(keep.dtype) & keep).view(x.dtype).mul_(scale)
    return keep.to(x.dtype).mul_(x).mul_(-scale)
