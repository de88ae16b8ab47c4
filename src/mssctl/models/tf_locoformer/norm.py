"""The grouped RMS norm of TF-Locoformer, in few passes over its input."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mssctl.hardware.device import full_precision

_LEAST = 1e-12  # of a root mean square that is divided by: groups of zeros have no gradient of it


class RMSGroupNorm(nn.Module):
    """Divide each group of features by its root mean square.

    ``y = x / (rms(x) + eps)``, the mean square taken over each of ``groups`` equal parts of the
    last axis, in float32. Under autocast ``y`` is in its dtype, which the map that follows would
    take it to anyway.

    Attributes:
        gain: ``(D,)``, what the map that follows multiplies its weights by, instead of a pass
            over all features here.

    Shape:
        ``(..., D) -> (..., D)``.
    """

    def __init__(self, groups: int, dim: int, eps: float) -> None:
        super().__init__()
        self.groups, self.eps = groups, eps
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last axis."""
        if torch.compiler.is_compiling():
            with full_precision(x.device):
                return _written_out(x, self.groups, self.eps)
        kind = x.device.type
        narrow = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if narrow else _wide(x)
        with full_precision(x.device):
            y: Tensor = _Normalized.apply(x, self.groups, self.eps, dtype)  # type: ignore[no-untyped-call]
            return y


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _written_out(x: Tensor, groups: int, eps: float) -> Tensor:
    """The formula, for the compiler, which makes one loop of it."""
    grouped = x.to(_wide(x)).unflatten(-1, (groups, -1))
    norm = torch.linalg.vector_norm(grouped, dim=-1, keepdim=True)
    y: Tensor = (grouped / (norm * grouped.shape[-1] ** -0.5 + eps)).flatten(-2)
    return y


class _Normalized(torch.autograd.Function):
    """Keeps the input as it is and a number per group.

    With ``r = rms(x)`` and ``s = r + eps`` of a group of ``d`` features, the gradient is
    ``g / s - x (g . x) / (d r s^2)``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, groups: int, eps: float, dtype: torch.dtype) -> Tensor:
        grouped = x.unflatten(-1, (groups, -1))
        scale = torch.linalg.vector_norm(grouped, dim=-1, keepdim=True, dtype=_wide(x))
        scale.mul_(grouped.shape[-1] ** -0.5).add_(eps)
        ctx.save_for_backward(x, scale)
        ctx.eps = eps
        y = torch.empty(x.shape, dtype=dtype, device=x.device)
        torch.div(grouped, scale, out=y.view(grouped.shape))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        x, scale = ctx.saved_tensors
        grouped = x.unflatten(-1, (scale.shape[-2], -1))
        grad = grad.unflatten(-1, grouped.shape[-2:])
        along = (grad * grouped).sum(-1, keepdim=True, dtype=scale.dtype)  # g . x
        rms = (scale - ctx.eps).clamp_min_(_LEAST)
        along /= rms.mul_(scale).mul_(scale).mul_(grouped.shape[-1])
        result = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        part = result.view(grouped.shape)
        torch.div(grad, scale, out=part)
        part.addcmul_(grouped, along, value=-1)
        return result, None, None, None
