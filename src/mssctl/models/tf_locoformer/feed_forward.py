"""The convolutional SwiGLU of TF-Locoformer, features last from end to end."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.dropout import Dropout


class ConvSwiGLU(nn.Module):
    """Gated feed-forward with a convolution in and a transposed convolution out.

    The first half of the hidden features is the value, the second the gate. Looks at
    ``kernel - 1`` positions to either side.

    Shape:
        ``(N, L, D) -> (N, L, D)``.
    """

    def __init__(self, dim: int, hidden: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.kernel = kernel
        self.conv = nn.Conv1d(dim, 2 * hidden, kernel)
        self.deconv = nn.ConvTranspose1d(hidden, dim, kernel)
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, gain: Tensor | None = None) -> Tensor:
        """Mix features and neighboring positions; ``gain`` ``(D,)`` scales the features of ``x``.

        In two dimensions, of which one is 1: the kernels for images take features last, and pad by
        themselves. The gain goes into the weights, which are far fewer than the features.
        """
        pad = (0, self.kernel - 1)
        into = self.conv.weight if gain is None else self.conv.weight * gain[:, None]
        x = x.unsqueeze(1).permute(0, 3, 1, 2)  # (N, D, 1, L), features last in memory
        x = F.conv2d(x, into.unsqueeze(2), self.conv.bias, padding=pad)
        hidden = self.drop(gated(x.squeeze(2).transpose(1, 2)))  # (N, L + p, C)
        x = hidden.unsqueeze(1).permute(0, 3, 1, 2)
        out = self.deconv.weight.unsqueeze(2)
        x = F.conv_transpose2d(x, out, self.deconv.bias, padding=pad)  # (N, D, 1, L)
        return self.drop(x.squeeze(2).transpose(1, 2))  # type: ignore[no-any-return]


def gated(x: Tensor) -> Tensor:
    """``value * silu(gate)`` of the two halves of the last axis, ``(..., 2 C) -> (..., C)``."""
    if torch.compiler.is_compiling():
        value, gate = x.chunk(2, dim=-1)
        return value * F.silu(gate)
    y: Tensor = _Gated.apply(x)  # type: ignore[no-untyped-call]
    return y


class _Gated(torch.autograd.Function):
    """`gated`, which keeps its input only, and writes both gradients into one tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        ctx.save_for_backward(x)
        return F.silu(gate).mul_(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        value, gate = x.chunk(2, dim=-1)
        result = torch.empty_like(x)
        to_value, to_gate = result.chunk(2, dim=-1)
        aten = torch.ops.aten
        aten.silu.out(gate, out=to_value).mul_(grad)
        aten.silu_backward.grad_input(torch.mul(grad, value, out=to_gate), gate, grad_input=to_gate)
        return result
