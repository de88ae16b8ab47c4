"""The TF-Locoformer block: convolutional SwiGLU, rotary attention and grouped RMS norm.

Source: Saijo et al., "TF-Locoformer" (IWAENC 2024, arXiv:2408.03440). The paper halves the
feed-forward residuals; the released models do not, and neither does this code.
"""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.attention import attention
from mssctl.hardware.dropout import Dropout
from mssctl.models.rotary import Angles, RotatedHeads
from mssctl.models.tf_locoformer.config import TFLocoformerConfig
from mssctl.models.tf_locoformer.feed_forward import ConvSwiGLU
from mssctl.models.tf_locoformer.norm import RMSGroupNorm


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
        self.rope = RotatedHeads()
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, angles: Angles | None, gain: Tensor | None = None) -> Tensor:
        """Attend over all positions.

        Args:
            x: the sequences.
            angles: rotate queries and keys by these.
            gain: ``(D,)``, scales the features of ``x``.
        """
        weight = self.qkv.weight if gain is None else self.qkv.weight * gain
        qkv = F.linear(x, weight).unflatten(-1, (3, self.heads, -1))  # (N, L, 3, H, d)
        q, k, v = self.rope(qkv, angles)  # each (N, H, L, d)
        y = attention(q, k, v, self.dropout if self.training else 0.0)
        y = self.out(y.transpose(1, 2).flatten(2))  # (N, L, D)
        return self.drop(y)  # type: ignore[no-any-return]


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

    def forward(self, x: Tensor, angles: Angles | None) -> Tensor:
        """Run the three branches one after the other; ``angles`` rotate queries and keys."""
        before, middle, after = self.norm_before, self.norm_attention, self.norm_after
        x = x + self.ffn_before(before(x), before.gain)
        x = x + self.attention(middle(x), angles, middle.gain)
        return x + self.ffn_after(after(x), after.gain)  # type: ignore[no-any-return]
