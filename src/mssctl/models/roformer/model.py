"""The core of BS-RoFormer and Mel-Band RoFormer: transformers along time and along bands.

Source: Lu et al., "Music Source Separation with Band-Split RoPE Transformer" (arXiv:2309.02612);
Wang et al., "Mel-Band RoFormer" (arXiv:2310.01809); sizes and details as in the public weights.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.attention import attention
from mssctl.hardware.dropout import Dropout
from mssctl.models.bands import band_widths
from mssctl.models.base import SpectralSeparator
from mssctl.models.pairs import product, taken
from mssctl.models.pieces import at_once
from mssctl.models.rms_bands import RMSBandSplit, StemMask, UnitNorm
from mssctl.models.roformer.config import (
    BSRoformerConfig,
    MelBandRoformerConfig,
    RoformerConfig,
)
from mssctl.models.roformer.mel_bands import mel_bands
from mssctl.models.rotary import Angles, RotaryEmbedding, rotated
from mssctl.models.run_config import RunConfig


class GatedAttention(nn.Module):
    """Multi-head self-attention whose heads are each scaled by a gate computed from the input.

    Shape:
        ``(N, L, D) -> (N, L, D)``.
    """

    def __init__(self, model: RoformerConfig) -> None:
        super().__init__()
        dim, heads, inner = model.emb_dim, model.n_heads, model.n_heads * model.dim_head
        self.heads, self.dropout = heads, model.dropout
        self.qkv = nn.Linear(dim, 3 * inner, bias=False)
        self.gates = nn.Linear(dim, heads)
        self.out = nn.Linear(inner, dim, bias=False)
        self.drop = Dropout(model.dropout)

    def forward(self, x: Tensor, angles: Angles) -> Tensor:
        """Attend over all positions; ``angles`` rotate queries and keys."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (N, L, 3, H, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (N, H, L, d)
        q, k = rotated(q, angles), rotated(k, angles)
        y = attention(q, k, v, self.dropout if self.training else 0.0)
        y = y.transpose(1, 2) * self.gates(x).sigmoid()[..., None]  # (N, L, H, d)
        return self.drop(self.out(y.flatten(2)))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two linear maps with a GELU between them.

    Shape:
        ``(..., D) -> (..., D)``.
    """

    def __init__(self, model: RoformerConfig) -> None:
        super().__init__()
        hidden = model.ffn_expansion * model.emb_dim
        self.up = nn.Linear(model.emb_dim, hidden)
        self.down = nn.Linear(hidden, model.emb_dim)
        self.drop = Dropout(model.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map each position."""
        return self.drop(self.down(self.drop(F.gelu(self.up(x)))))  # type: ignore[no-any-return]


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each a pre-norm residual branch.

    Shape:
        ``(N, L, D) -> (N, L, D)``.
    """

    def __init__(self, model: RoformerConfig) -> None:
        super().__init__()
        self.norm_attention = UnitNorm(model.emb_dim)
        self.attention = GatedAttention(model)
        self.norm_ffn = UnitNorm(model.emb_dim)
        self.ffn = FeedForward(model)

    def forward(self, x: Tensor, angles: Angles) -> Tensor:
        """Run both branches."""
        x = x + self.attention(self.norm_attention(x), angles)
        return x + self.ffn(self.norm_ffn(x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Layers along one axis, and a norm of what comes out where the model has one.

    Shape:
        ``(N, L, D) -> (N, L, D)``.
    """

    def __init__(self, model: RoformerConfig, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([TransformerLayer(model) for _ in range(depth)])
        self.norm = UnitNorm(model.emb_dim) if model.norm_paths else nn.Identity()

    def forward(self, x: Tensor, angles: Angles) -> Tensor:
        """Run the layers one after the other."""
        for layer in self.layers:
            x = layer(x, angles)
        return self.norm(x)  # type: ignore[no-any-return]


class RoformerBlock(nn.Module):
    """A transformer along time for each band, then one along bands for each frame.

    Shape:
        ``(B, T, K, D) -> (B, T, K, D)``.
    """

    def __init__(self, model: RoformerConfig) -> None:
        super().__init__()
        self.time_path = Transformer(model, model.time_depth)
        self.band_path = Transformer(model, model.band_depth)

    def along_time(self, x: Tensor, rope: RotaryEmbedding) -> Tensor:
        """Treat each band as a sequence over time."""
        return _sequences(self.time_path, x.transpose(1, 2), rope).transpose(1, 2)

    def along_bands(self, x: Tensor, rope: RotaryEmbedding) -> Tensor:
        """Treat each frame as a sequence over bands."""
        return _sequences(self.band_path, x, rope)


def _sequences(path: Transformer, x: Tensor, rope: RotaryEmbedding) -> Tensor:
    """Run ``path`` on ``x`` ``(B, N, L, D)`` as ``B * N`` sequences."""
    batch, number, length, _ = x.shape
    angles = rope.angles(length)
    count = at_once(number, batch * length, x.device)
    if count == number:
        return path(x.flatten(0, 1), angles).view(x.shape)  # type: ignore[no-any-return]
    # Sequences do not see each other: without gradients they can be replaced where they are.
    y = torch.empty_like(x) if torch.is_grad_enabled() else x
    for start in range(0, number, count):
        part = x[:, start : start + count]
        sequences = part.flatten(0, 1).contiguous()
        y[:, start : start + count] = path(sequences, angles).view(part.shape)
    return y


class Roformer(SpectralSeparator):
    """Band split, ``n_layers`` blocks, a complex mask per stem.

    Subclasses with bands that overlap override `gathered` and `scattered`.

    Args:
        config: of a run.
        model: its section ``model``.
        widths: bins per band.

    Shape:
        ``spectrum_real``: ``(B, C, F, T, 2) -> (B, S, C, F, T, 2)``.
    """

    heads = "masks"

    def __init__(self, config: RunConfig, model: RoformerConfig, widths: Sequence[int]) -> None:
        audio = config.audio
        super().__init__(audio, config.stft, normalize=False)
        self.zero_dc, self.skip_connection = model.zero_dc, model.skip_connection
        self.encoder = RMSBandSplit(widths, audio.channels, model.emb_dim)
        self.blocks = nn.ModuleList([RoformerBlock(model) for _ in range(model.n_layers)])
        self.norm = nn.Identity() if model.norm_paths else UnitNorm(model.emb_dim)
        self.rope = RotaryEmbedding(model.dim_head)
        self.masks = nn.ModuleList(
            [
                StemMask(
                    widths, audio.channels, model.emb_dim, model.mask_expansion, model.mask_layers
                )
                for _ in audio.outputs
            ]
        )

    def gathered(self, spec: Tensor) -> Tensor:
        """The bins of all bands, one band after the other."""
        return spec

    def scattered(self, mask: Tensor) -> Tensor:
        """A mask of all bands ``(B, C, ., T, 2)`` as one of all bins ``(B, C, F, T, 2)``."""
        return mask

    def regions(self) -> list[nn.Module]:
        """Each path of each block."""
        return [part for part in self.modules() if isinstance(part, Transformer)]

    def spectrum_real(self, spec: Tensor) -> Tensor:
        """Separate a spectrogram."""
        x = self.encoder(self.gathered(spec))  # (B, T, K, D)
        earlier: Tensor | None = None  # sum of what the layers so far gave
        for block in self.blocks:
            x = x if earlier is None else x + earlier
            x = self.run("block", self._block, block, x)
            if self.skip_connection:
                earlier = x if earlier is None else earlier + x
        x = self.norm(x)
        if self.zero_dc:
            spec = torch.cat((torch.zeros_like(spec[:, :, :1]), spec[:, :, 1:]), dim=2)
        stems = [product(self.scattered(self.run("path", mask, x)), spec) for mask in self.masks]
        return torch.stack(stems, dim=1)

    def _block(self, block: RoformerBlock, x: Tensor) -> Tensor:
        x = self.run("path", block.along_time, x, self.rope)
        return self.run("path", block.along_bands, x, self.rope)


class BSRoformer(Roformer):
    """Bands side by side, from fine at the bottom to wide at the top."""

    def __init__(self, config: RunConfig) -> None:
        model = BSRoformerConfig.of(config)
        widths = band_widths(model.freqs_per_bands, config.audio.sample_rate, config.stft.n_fft)
        super().__init__(config, model, widths)


class MelBandRoformer(Roformer):
    """Bands that overlap: a bin in two of them gets the mean of both masks."""

    bins: Tensor
    first: Tensor
    last: Tensor

    def __init__(self, config: RunConfig) -> None:
        model = MelBandRoformerConfig.of(config)
        bands = mel_bands(config.audio.sample_rate, config.stft.n_fft, model.num_bands)
        super().__init__(config, model, [len(band) for band in bands])
        bins = [bin_ for band in bands for bin_ in band]
        # A bin is in neighboring bands only: its first and its last place are all it has.
        last = {bin_: place for place, bin_ in enumerate(bins)}
        first = {bin_: len(bins) - 1 - place for place, bin_ in enumerate(reversed(bins))}
        self.register_buffer("bins", torch.tensor(bins), persistent=False)
        for name, places in (("first", first), ("last", last)):
            by_bin = torch.tensor([places[bin_] for bin_ in range(len(places))])
            self.register_buffer(name, by_bin, persistent=False)

    def gathered(self, spec: Tensor) -> Tensor:
        """The bins of all bands, one band after the other."""
        return taken(spec, self.bins)

    def scattered(self, mask: Tensor) -> Tensor:
        """The mean over the one or two places of each bin."""
        return (taken(mask, self.first) + taken(mask, self.last)) / 2
