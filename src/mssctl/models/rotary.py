"""Rotary position embedding.

Source: Su et al., "RoFormer" (arXiv:2104.09864).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mssctl.hardware.device import full_precision

Angles = tuple[Tensor, Tensor]  # cosine and sine, each (L, d / 2)


class RotaryEmbedding(nn.Module):
    """Rotary position embedding with interleaved pairs, base 10000.

    Shape:
        ``(..., L, d) -> (..., L, d)``; position is the index along ``L``.
    """

    def __init__(self, dim: int, base: float = 10_000.0) -> None:
        super().__init__()
        freqs = base ** (-torch.arange(0, dim, 2).float() / dim)
        self.freqs = nn.Parameter(freqs, requires_grad=False)

    def angles(self, length: int) -> Angles:
        """Cosine and sine, each ``(L, d / 2)`` float32."""
        positions = torch.arange(length, device=self.freqs.device, dtype=torch.float32)
        with full_precision(positions.device):
            angle = positions[:, None] * self.freqs
            return angle.cos(), angle.sin()

    def forward(self, x: Tensor) -> Tensor:
        """Rotate each pair of features by an angle proportional to its position."""
        return rotated(x, self.angles(x.shape[-2]))


def rotated(x: Tensor, angles: Angles) -> Tensor:
    """Rotate each pair of features of ``x`` ``(..., L, d)``; ``angles`` as of `RotaryEmbedding`."""
    cos, sin = angles
    with full_precision(x.device):
        pairs = x.float().unflatten(-1, (-1, 2))
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            # One pass over memory; the products below take eight, of every second value.
            turned = torch.view_as_complex(pairs) * torch.complex(cos, sin)
            return torch.view_as_real(turned).flatten(-2).to(x.dtype)
        even, odd = pairs.unbind(-1)
        turns = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
        return turns.flatten(-2).to(x.dtype)


class RotatedHeads(nn.Module):
    """Queries, keys and values out of one packed tensor, the first two rotated.

    Shape:
        ``(N, L, 3, H, d)`` -> three views ``(N, H, L, d)`` of one tensor, not yet contiguous.
    """

    def forward(self, qkv: Tensor, angles: Angles | None) -> tuple[Tensor, Tensor, Tensor]:
        """Rotate by ``angles``, as of `RotaryEmbedding`; not at all where they are None."""
        if angles is None or torch.compiler.is_compiling():
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            return (q, k, v) if angles is None else (rotated(q, angles), rotated(k, angles), v)
        with full_precision(qkv.device):
            return _Rotated.apply(qkv, *angles)  # type: ignore[no-any-return, no-untyped-call]


class _Rotated(torch.autograd.Function):
    """`RotatedHeads`, which keeps nothing: the gradients are turned back by the same angles."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(cos, sin)
        out = torch.empty_like(qkv, memory_format=torch.contiguous_format)
        # Queries and keys at once: (N, 2, H, L, d).
        _turn(qkv[:, :, :2].movedim(1, -2), cos, sin, out[:, :, :2].movedim(1, -2))
        out[:, :, 2].copy_(qkv[:, :, 2])
        return out.permute(2, 0, 3, 1, 4).unbind()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        sequences, heads, length, head = grads[0].shape
        result = grads[0].new_empty(sequences, length, 3, heads, head)
        to_q, to_k, to_v = result.permute(2, 0, 3, 1, 4)
        _turn(grads[0], cos, -sin, to_q)
        _turn(grads[1], cos, -sin, to_k)
        to_v.copy_(grads[2])
        return result, None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Rotate the pairs of ``x`` ``(..., L, d)`` into ``out``, in the precision of ``cos``."""
    if x.device.type == "cpu":  # one pass over memory; out= would make copies of each operand
        out.copy_(_by_complex(x, cos, sin))
    else:
        _by_parts(x, cos, sin, out)


def _by_complex(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    pairs = x.to(cos.dtype).unflatten(-1, (-1, 2))
    turned = torch.view_as_complex(pairs) * torch.complex(cos, sin)
    return torch.view_as_real(turned).flatten(-2)


def _by_parts(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Four kernels that read and write narrow values and compute with wide ones."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    to_even, to_odd = out.unflatten(-1, (-1, 2)).unbind(-1)
    torch.addcmul(odd * -sin, even, cos, out=to_even)
    torch.addcmul(even * sin, odd, cos, out=to_odd)
