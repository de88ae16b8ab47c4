"""Frequency bands: the tables, the band split and the band-wise mask decoder.

Bands differ in width, so each has weights of its own. Bands of equal width lie side by side and
are computed together, as one batched matrix product per width instead of one per band.
Source: Luo & Yu, "Music Source Separation with Band-split RNN" (arXiv:2209.15174); band tables
and decoder as in TF-Locoformer (arXiv:2408.03440) and its band-split variants.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.device import full_precision

_BANDS62 = [2] * 24 + [4] * 12 + [12] * 8 + [24] * 8 + [48] * 8

_EPS = 1e-5  # added to the variance of a band

# Upper edge of each range in Hz and bins per band within it.
_RULE = [(1_000, 2), (2_000, 4), (4_000, 12), (8_000, 24), (16_000, 48)]


def band_widths(bands: str | Sequence[int], sample_rate: int, n_fft: int) -> list[int]:
    """STFT bins per band, low to high; they sum to ``n_fft // 2 + 1``.

    Args:
        bands: ``bands62``, ``rule`` or the widths themselves.
        sample_rate: Hz.
        n_fft: transform length, samples.

    Raises:
        ValueError: the widths do not cover the bins exactly.
    """
    bins = n_fft // 2 + 1
    if bands == "bands62":
        scale = n_fft // 2048
        widths = [scale * width for width in _BANDS62]
        rest = bins - sum(widths)
        widths += [rest // 2, rest - rest // 2]
    elif bands == "rule":
        widths = _ruled_widths(sample_rate, n_fft)
    else:
        widths = [int(width) for width in bands]
    if sum(widths) != bins or min(widths) < 1:
        raise ValueError(f"band widths sum to {sum(widths)}, n_fft {n_fft} has {bins} bins")
    return widths


def _ruled_widths(sample_rate: int, n_fft: int) -> list[int]:
    bins = n_fft // 2 + 1
    hz_per_bin = (sample_rate // 2) / bins
    widths: list[int] = []
    low = 0
    for high, width in _RULE:
        widths += [width] * math.ceil((high - low) / (width * hz_per_bin))
        low = high
    rest = bins - sum(widths)
    parts = 4 if sample_rate == 48_000 else 2
    # Two bands differ by at most one bin; of four, the last takes the whole remainder.
    return widths + [rest // parts] * (parts - 1) + [rest - rest // parts * (parts - 1)]


def equal_runs(widths: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of neighboring bands of one width, as (number of bands, width)."""
    return [(len(list(run)), width) for width, run in groupby(widths)]


def bands_of_runs(widths: Sequence[int]) -> list[range]:
    """The bands of each run of `equal_runs`."""
    edges = accumulate((bands for bands, _ in equal_runs(widths)), initial=0)
    return [range(low, high) for low, high in pairwise(edges)]


class BandLinear(nn.Module):
    """A linear map of its own for each of ``K`` bands.

    Shape:
        input ``(K, N, in)`` -> output ``(K, N, out)``.
    """

    def __init__(self, bands: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5  # what nn.Linear draws from
        self.weight = nn.Parameter(torch.empty(bands, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(bands, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor, bands: slice | None = None) -> Tensor:
        """Map each band by its own weights; ``bands`` are those of ``x`` where it has not all."""
        if bands is None:
            return torch.baddbmm(self.bias, x, self.weight)
        return torch.baddbmm(self.bias[bands], x, self.weight[bands])


class BandSplit(nn.Module):
    """Turn each frequency band of a complex spectrogram into one feature vector.

    Each band is normalized over its features and all its frames together, then mapped linearly.

    Args:
        widths: STFT bins per band, low to high; they sum to ``F``.
        channels: audio channels ``C``.
        dim: features per band ``D``.

    Shape:
        input ``(B, C, F, T, 2)`` -> output ``(B, T, K, D)``, ``K = len(widths)``.
    """

    def __init__(self, widths: Sequence[int], channels: int, dim: int) -> None:
        super().__init__()
        self.runs = equal_runs(widths)
        sizes = [(bands, 2 * channels * width) for bands, width in self.runs]
        self.gain = nn.ParameterList([torch.ones(bands, 1, size) for bands, size in sizes])
        self.shift = nn.ParameterList([torch.zeros(bands, 1, size) for bands, size in sizes])
        self.linear = nn.ModuleList([BandLinear(bands, size, dim) for bands, size in sizes])

    def forward(self, spec: Tensor) -> Tensor:
        """Split and embed the bands of ``spec``."""
        batch, channels, _, frames, _ = spec.shape
        parts = spec.split([n * width for n, width in self.runs], dim=2)
        outputs = []
        for index, (part, (bands, width)) in enumerate(zip(parts, self.runs, strict=True)):
            with full_precision(spec.device):
                x = part.reshape(batch, channels, bands, width, frames, 2)
                x = x.permute(2, 0, 4, 3, 5, 1).reshape(bands, batch, -1)  # (K, B, T·w·2·C)
                x = F.layer_norm(x, x.shape[-1:], eps=_EPS)
                x = x.reshape(bands, batch * frames, -1)  # (K, B·T, w·2·C)
                x = x * self.gain[index] + self.shift[index]
            outputs.append(self.linear[index](x))  # (K, B·T, D)
        bands_first: Tensor = torch.cat(outputs).unflatten(1, (batch, frames))  # (K, B, T, D)
        return bands_first.permute(1, 2, 0, 3).contiguous()


class BandMask(nn.Module):
    """Turn the features of each band into complex values for its bins, by an MLP per band.

    Norm, ``D -> hidden -> hidden -> bins`` and a gated linear unit. ``mlp`` says where the tanh
    sits, which differs between published checkpoints: ``standalone`` after the first layer,
    ``mixit`` after the second, ``tuss`` after both.

    Args:
        widths: STFT bins per band.
        channels: audio channels ``C``.
        stems: outputs ``S``.
        dim: features per band ``D``.
        expansion: ``hidden = expansion * dim``.
        mlp: ``standalone``, ``mixit`` or ``tuss``.

    Shape:
        input ``(B, T, K, D)`` -> output ``(B, S, C, F, T, 2)`` float32.
    """

    def __init__(
        self,
        widths: Sequence[int],
        channels: int,
        stems: int,
        dim: int,
        *,
        expansion: int = 4,
        mlp: str = "standalone",
    ) -> None:
        super().__init__()
        self.runs = equal_runs(widths)
        self.channels, self.stems, self.mlp = channels, stems, mlp
        bands, hidden = len(widths), expansion * dim
        self.gain = nn.Parameter(torch.ones(bands, 1, dim))
        self.shift = nn.Parameter(torch.zeros(bands, 1, dim))
        self.first = BandLinear(bands, dim, hidden)
        self.second = BandLinear(bands, hidden, hidden)
        self.last = nn.ModuleList(
            [BandLinear(n, hidden, 2 * 2 * stems * channels * width) for n, width in self.runs]
        )
        self._start_from_an_equal_split()

    def _start_from_an_equal_split(self) -> None:
        """Set biases so that an untrained mask is 1 / S: training starts from a sane output."""
        for linear in self.last:
            assert isinstance(linear, BandLinear)
            value_real = linear.bias.shape[-1] // 4
            with torch.no_grad():
                linear.bias.zero_()
                linear.bias[..., :value_real] = 2.0 / self.stems  # times sigmoid(0) = 1 / 2

    def forward(self, x: Tensor) -> Tensor:
        """Predict the mask (or the stems themselves) from band features."""
        batch, frames, bands, dim = x.shape
        with full_precision(x.device):
            x = x.permute(2, 0, 1, 3).float().reshape(bands, batch, frames * dim)
            x = F.layer_norm(x, x.shape[-1:], eps=_EPS)
            x = x.reshape(bands, batch * frames, dim) * self.gain + self.shift  # (K, B·T, D)
        x = self.first(x)
        x = torch.tanh(x) if self.mlp in ("standalone", "tuss") else x
        x = self.second(x)
        x = torch.tanh(x) if self.mlp in ("mixit", "tuss") else x  # (K, B·T, hidden)
        outputs = []
        parts = x.split([n for n, _ in self.runs])
        for part, linear, (n, width) in zip(parts, self.last, self.runs, strict=True):
            y = F.glu(linear(part), dim=-1).float()  # (K, B·T, 2·S·C·w)
            y = y.reshape(n, batch, frames, 2, self.stems, self.channels, width)
            y = y.permute(1, 4, 5, 0, 6, 2, 3)  # (B, S, C, K, w, T, 2)
            outputs.append(y.reshape(batch, self.stems, self.channels, n * width, frames, 2))
        return torch.cat(outputs, dim=3)
