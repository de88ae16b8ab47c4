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
        angle = positions[:, None] * self.freqs
        return angle.cos(), angle.sin()

    def forward(self, x: Tensor) -> Tensor:
        """Rotate each pair of features by an angle proportional to its position."""
        with full_precision(x.device):
            cos, sin = self.angles(x.shape[-2])
            even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
            rotated = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
            return rotated.flatten(-2).to(x.dtype)
