"""Rotary position embedding.

Source: Su et al., "RoFormer" (arXiv:2104.09864).
"""

import torch
from torch import Tensor, nn

from mssctl.hardware.device import full_precision


class RotaryEmbedding(nn.Module):
    """Rotary position embedding with interleaved pairs, base 10000.

    Shape:
        ``(..., L, d) -> (..., L, d)``; position is the index along ``L``.
    """

    def __init__(self, dim: int, base: float = 10_000.0) -> None:
        super().__init__()
        freqs = base ** (-torch.arange(0, dim, 2).float() / dim)
        self.freqs = nn.Parameter(freqs, requires_grad=False)

    def angles(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosine and sine, each ``(L, d / 2)`` float32."""
        positions = torch.arange(length, device=self.freqs.device, dtype=torch.float32)
        with full_precision(positions.device):
            angle = positions[:, None] * self.freqs
            return angle.cos(), angle.sin()

    def forward(self, x: Tensor) -> Tensor:
        """Rotate each pair of features by an angle proportional to its position."""
        return rotated(x, self.angles(x.shape[-2]))


def rotated(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
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
