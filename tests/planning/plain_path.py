"""A path of TF-Locoformer as public code writes it, in steps that keep what PyTorch's own keep.

The networks of `cases.RECORDED` were measured in that form, which holds more memory than ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.attention import attention
from mssctl.hardware.device import full_precision
from mssctl.models.rotary import Angles, rotated
from mssctl.models.tf_locoformer import blocks


class PlainNorm(nn.Module):
    """Float32 in each step."""

    def __init__(self, groups: int, dim: int, eps: float) -> None:
        super().__init__()
        self.groups, self.eps = groups, eps
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        with full_precision(x.device):
            grouped = x.float().unflatten(-1, (self.groups, -1))
            rms = grouped.square().mean(dim=-1, keepdim=True).sqrt()
            return (grouped / (rms + self.eps)).flatten(-2) * self.gain


class PlainFeedForward(blocks.ConvSwiGLU):
    """Padded by hand, features in the middle."""

    def forward(self, x: Tensor, gain: Tensor | None = None) -> Tensor:
        pad = self.kernel - 1
        x = F.pad(x.transpose(1, 2), (pad, pad))
        value, gate = self.conv(x).chunk(2, dim=1)
        x = self.deconv(self.drop(value * F.silu(gate)))
        return self.drop(x[..., pad : x.shape[-1] - pad]).transpose(1, 2)


class PlainAttention(blocks.SelfAttention):
    """Queries and keys rotated one after the other."""

    def forward(self, x: Tensor, angles: Angles | None, gain: Tensor | None = None) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if angles is not None:
            q, k = rotated(q, angles), rotated(k, angles)
        y = attention(q, k, v, self.dropout if self.training else 0.0)
        return self.drop(self.out(y.transpose(1, 2).flatten(2)))
