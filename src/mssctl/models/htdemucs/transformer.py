"""The transformer of HTDemucs: self-attention in each branch and attention between the branches."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.attention import attention
from mssctl.hardware.device import full_precision
from mssctl.hardware.dropout import Dropout
from mssctl.models.htdemucs.config import HTDemucsConfig
from mssctl.models.htdemucs.layers import NORM_EPS, Run

_LAYER_SCALE = 1e-4  # initial gain of a branch
_LONGEST_PERIOD = 10_000.0


class LayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm` in float32."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (its name in torch)
        """Normalize the last axis."""
        with full_precision(input.device):
            return super().forward(input.float())


class SequenceNorm(nn.Module):
    """Normalize each whole sequence by one mean and one deviation, and scale its features.

    Shape:
        ``(B, L, D) -> (B, L, D)``.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """In float32."""
        with full_precision(x.device):
            x = x.float() - x.mean(dim=(1, 2), keepdim=True)
            variance = x.square().mean(dim=(1, 2), keepdim=True)
            return torch.addcmul(self.bias, x, self.weight * (variance + NORM_EPS).rsqrt())


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each a pre-norm residual branch with a gain per feature.

    Args:
        model: the section ``model``.
        cross: attend to another sequence; else to itself.

    Shape:
        ``(B, L, D)``, and ``(B, M, D)`` to attend to, ``-> (B, L, D)``.
    """

    def __init__(self, model: HTDemucsConfig, cross: bool) -> None:
        super().__init__()
        dim = model.width
        self.heads, self.dropout = model.n_heads, model.dropout
        self.norm_attention = LayerNorm(dim)
        self.norm_context = LayerNorm(dim) if cross else None
        self.q, self.kv = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.scale_attention = nn.Parameter(torch.full((dim,), _LAYER_SCALE))
        self.norm_ffn = LayerNorm(dim)
        self.up = nn.Linear(dim, model.ffn_expansion * dim)
        self.down = nn.Linear(model.ffn_expansion * dim, dim)
        self.scale_ffn = nn.Parameter(torch.full((dim,), _LAYER_SCALE))
        self.norm_out = SequenceNorm(dim)
        self.drop = Dropout(model.dropout)

    def forward(self, x: Tensor, context: Tensor, run: Run) -> Tensor:
        """Run both branches; a layer without cross-attention ignores ``context``."""
        x = run("path", self._attend, x, context)
        return run("path", self._feed, x)

    def _attend(self, x: Tensor, context: Tensor) -> Tensor:
        own = self.norm_attention(x)
        q = self.q(own).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, L, d)
        kv = self.kv(own if self.norm_context is None else self.norm_context(context))
        k, v = kv.unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, M, d) each
        heads = attention(q, k, v, self.dropout if self.training else 0.0)
        y: Tensor = self.drop(self.out(heads.transpose(1, 2).flatten(2)))
        return x + self.scale_attention * y

    def _feed(self, x: Tensor) -> Tensor:
        y = self.down(self.drop(F.gelu(self.up(self.norm_ffn(x)))))
        return self.norm_out(x + self.scale_ffn * self.drop(y))  # type: ignore[no-any-return]


class TransformerBlock(nn.Module):
    """One layer for each branch, which attend to themselves or to each other.

    Shape:
        ``(B, L, D)`` of the spectrogram and ``(B, M, D)`` of the waveform, the same out.
    """

    def __init__(self, model: HTDemucsConfig, cross: bool) -> None:
        super().__init__()
        self.spectrum = TransformerLayer(model, cross)
        self.wave = TransformerLayer(model, cross)

    def forward(self, x: Tensor, wave: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        """Both layers see what came in."""
        return run("block", self.spectrum, x, wave, run), run("block", self.wave, wave, x, run)


class CrossTransformer(nn.Module):
    """Layers of both branches at the coarsest level, with sines of the position added.

    Source: Rouard et al., "Hybrid Transformers for Music Source Separation" (arXiv:2211.08553).

    Shape:
        ``(B, T, F, D)`` of the spectrogram and ``(B, 1, N, D)`` of the waveform, the same out.
    """

    def __init__(self, model: HTDemucsConfig) -> None:
        super().__init__()
        dim, outer = model.width, model.widths[-1]
        maps = ("up", "down", "wave_up", "wave_down")
        sizes = [(outer, dim), (dim, outer)] * 2
        self.maps = nn.ModuleDict(
            {
                name: nn.Identity() if model.emb_dim is None else nn.Linear(*size)
                for name, size in zip(maps, sizes, strict=True)
            }
        )
        self.norm, self.wave_norm = LayerNorm(dim), LayerNorm(dim)
        self.blocks = nn.ModuleList(
            [TransformerBlock(model, cross=index % 2 == 1) for index in range(model.n_layers)]
        )

    def forward(self, x: Tensor, wave: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        """Tokens of the spectrogram run through frequency first."""
        frames, rows = x.shape[1:3]
        x = self.norm(self.maps["up"](x)) + grid_positions(frames, rows, self._dim, x.device)
        wave = self.wave_norm(self.maps["wave_up"](wave.squeeze(1)))
        wave = wave + positions(wave.shape[1], self._dim, wave.device)
        x = x.flatten(1, 2)  # (B, T·F, D)
        for block in self.blocks:
            x, wave = block(x, wave, run)
        x = x.unflatten(1, (frames, rows))
        return self.maps["down"](x), self.maps["wave_down"](wave)[:, None]

    @property
    def _dim(self) -> int:
        return int(self.norm.normalized_shape[0])


def positions(length: int, dim: int, device: torch.device) -> Tensor:
    """Cosines, then sines, of the position at periods from 2π to 20000π: ``(L, dim)``."""
    index = torch.arange(dim // 2, device=device) / max(1, dim // 2 - 1)
    phase = torch.arange(length, device=device)[:, None] / _LONGEST_PERIOD**index
    return torch.cat((phase.cos(), phase.sin()), dim=-1)


def grid_positions(frames: int, rows: int, dim: int, device: torch.device) -> Tensor:
    """Sines and cosines in turn, of the frame and then of the row: ``(T, F, dim)``."""
    half = dim // 2
    rates = torch.exp(torch.arange(0, half, 2, device=device) * (-math.log(_LONGEST_PERIOD) / half))

    def along(length: int) -> Tensor:
        phase = torch.arange(length, device=device)[:, None] * rates  # (L, dim / 4)
        return torch.stack((phase.sin(), phase.cos()), dim=-1).flatten(1)

    time = along(frames)[:, None].expand(-1, rows, -1)
    return torch.cat((time, along(rows)[None].expand(frames, -1, -1)), dim=-1)
