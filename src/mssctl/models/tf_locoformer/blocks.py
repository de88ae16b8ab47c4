"""The TF-Locoformer block: convolutional SwiGLU, rotary attention and grouped RMS norm.

Source: Saijo et al., "TF-Locoformer" (IWAENC 2024, arXiv:2408.03440). The paper halves the
feed-forward residuals; the released models do not, and neither does this code.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.attention import attention
from mssctl.hardware.device import full_precision
from mssctl.hardware.dropout import Dropout
from mssctl.models.rotary import RotaryEmbedding
from mssctl.models.tf_locoformer.config import TFLocoformerConfig


class RMSGroupNorm(nn.Module):
    """Divide each group of features by its root mean square, and scale.

    ``y = x / (rms(x) + eps) * gain``, the mean square taken over each of ``groups`` equal parts
    of the last axis; in float32.

    Shape:
        ``(..., D) -> (..., D)``.
    """

    def __init__(self, groups: int, dim: int, eps: float) -> None:
        super().__init__()
        self.groups, self.eps = groups, eps
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last axis."""
        with full_precision(x.device):
            grouped = x.float().unflatten(-1, (self.groups, -1))
            rms = grouped.square().mean(dim=-1, keepdim=True).sqrt()
            y: Tensor = (grouped / (rms + self.eps)).flatten(-2) * self.gain
            return y


class SelfAttention(nn.Module):
    """Multi-head self-attention along the second-last axis, without biases.

    Shape:
        ``(N, L, D) -> (N, L, D)``.
    """

    def __init__(self, dim: int, attention_dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(dim, 3 * attention_dim, bias=False)
        self.out = nn.Linear(attention_dim, dim, bias=False)
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, rope: RotaryEmbedding | None) -> Tensor:
        """Attend over all positions; ``rope`` rotates queries and keys."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (N, L, 3, H, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (N, H, L, d)
        if rope is not None:
            q, k = rope(q), rope(k)
        y = attention(q, k, v, self.dropout if self.training else 0.0)
        y = self.out(y.transpose(1, 2).flatten(2))  # (N, L, D)
        return self.drop(y)  # type: ignore[no-any-return]


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

    def forward(self, x: Tensor) -> Tensor:
        """Mix features and neighboring positions."""
        pad = self.kernel - 1
        x = F.pad(x.transpose(1, 2), (pad, pad))  # (N, D, L + 2p)
        value, gate = self.conv(x).chunk(2, dim=1)  # (N, C, L + p)
        x = self.deconv(self.drop(value * F.silu(gate)))  # (N, D, L + 2p)
        x = x[..., pad : x.shape[-1] - pad]
        return self.drop(x).transpose(1, 2)  # type: ignore[no-any-return]


class LocoformerPath(nn.Module):
    """Feed-forward, attention and feed-forward along one axis, each a pre-norm residual branch.

    Shape:
        ``(N, L, D) -> (N, L, D)``.
    """

    def __init__(self, model: TFLocoformerConfig) -> None:
        super().__init__()
        dim, groups, eps = model.emb_dim, model.num_groups, model.eps
        before, after = model.ffn_hidden_dim
        self.norm_before = RMSGroupNorm(groups, dim, eps)
        self.ffn_before = ConvSwiGLU(dim, before, model.conv1d_kernel, model.dropout)
        self.norm_attention = RMSGroupNorm(groups, dim, eps)
        self.attention = SelfAttention(dim, model.attention_dim, model.n_heads, model.dropout)
        self.norm_after = RMSGroupNorm(groups, dim, eps)
        self.ffn_after = ConvSwiGLU(dim, after, model.conv1d_kernel, model.dropout)

    def forward(self, x: Tensor, rope: RotaryEmbedding | None) -> Tensor:
        """Run the three branches one after the other."""
        x = x + self.ffn_before(self.norm_before(x))
        x = x + self.attention(self.norm_attention(x), rope)
        return x + self.ffn_after(self.norm_after(x))  # type: ignore[no-any-return]
