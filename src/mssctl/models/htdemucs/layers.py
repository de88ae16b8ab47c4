"""The levels of HTDemucs' two U-Nets, in one form for spectrogram and waveform.

Features come last, so that most convolutions are matrix products on memory as it lies: spectrograms
are ``(B, T, F, D)``, waveforms ``(B, N, 1, D)``.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.device import full_precision
from mssctl.models.htdemucs.config import STRIDE, HTDemucsConfig

NORM_EPS = 1e-5
_KERNEL = 2 * STRIDE  # taps of the convolutions between levels
_TARGET_STD = 0.1  # of initial weights, reached half of the way (on a log scale)
_DCONV_SCALE = 1e-3  # initial gain of a residual branch


class Run(Protocol):
    """`Separator.run`."""

    def __call__(self, level: str, function: Callable[..., Tensor], *args: object) -> Tensor:
        """Call ``function``, recomputing it in backward if checkpointing is at ``level``."""


class StridedConv(nn.Module):
    """A convolution of 8 taps and stride 4 along the second last axis.

    Shape:
        ``(..., L, C) -> (..., ceil(L / 4), D)``.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = drawn((outputs, _KERNEL * inputs), outputs, _KERNEL * inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Each output sees two neighboring groups of 4, cut 2 before its own."""
        edge = STRIDE // 2
        x = F.pad(x, (0, 0, edge, edge + -x.shape[-2] % STRIDE))
        groups = x.unflatten(-2, (-1, STRIDE)).flatten(-2)  # (..., L / 4 + 1, 4C)
        pairs = torch.cat((groups[..., :-1, :], groups[..., 1:, :]), dim=-1)  # (..., L / 4, 8C)
        return F.linear(pairs, self.weight, self.bias)


class StridedTranspose(nn.Module):
    """A transposed convolution of 8 taps and stride 4 along the second last axis.

    Shape:
        ``(..., L, C) -> (..., length, D)``, for a ``length`` that `StridedConv` makes ``L`` of.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = drawn((_KERNEL * outputs, inputs), outputs, _KERNEL * outputs)

    def forward(self, x: Tensor, length: int) -> Tensor:
        """The first 4 taps of each position meet the last 4 of the one before."""
        here, after = F.linear(x, self.weight).chunk(2, dim=-1)  # (..., L, 4D) each
        groups = F.pad(here, (0, 0, 0, 1)) + F.pad(after, (0, 0, 1, 0))  # (..., L + 1, 4D)
        y = groups.unflatten(-1, (STRIDE, -1)).flatten(-3, -2)  # (..., 4L + 4, D)
        z: Tensor = y[..., STRIDE // 2 : STRIDE // 2 + length, :] + self.bias
        return z


class DilatedConv(nn.Module):
    """A residual branch: dilated convolution to few features, and back through a gated map.

    ``y = scale * GLU(norm(W gelu(norm(conv(x)))))``, where both norms are over time and features
    of each row of frequency. The second one needs no pass over its many features: mean and
    variance of ``W h + b`` follow from mean and covariance of the few of ``h``, and with them the
    norm is a part of the map.

    Shape:
        ``(B, T, F, D) -> (B, T, F, D)``.
    """

    def __init__(self, dim: int, hidden: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.down, self.down_bias = drawn((3 * hidden, dim), hidden, 3 * dim)
        self.down_gain = nn.Parameter(torch.ones(hidden))
        self.down_shift = nn.Parameter(torch.zeros(hidden))
        self.up, self.up_bias = drawn((2 * dim, hidden), 2 * dim, hidden)
        self.up_gain = nn.Parameter(torch.ones(2 * dim))
        self.up_shift = nn.Parameter(torch.zeros(2 * dim))
        self.scale = nn.Parameter(torch.full((dim,), _DCONV_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """The branch alone, without its input."""
        taps = F.linear(x, self.down)  # (B, T, F, 3H)
        with full_precision(x.device):
            columns = self._columns(self._hidden(taps.float()))
        factor = torch.cat((self.scale, torch.ones_like(self.scale)))  # of values and gates
        gain = self.up_gain * factor
        weight = torch.cat((self.up, self.up_bias[:, None], -torch.ones_like(gain)[:, None]), dim=1)
        return F.glu(F.linear(columns, weight * gain[:, None], self.up_shift * factor), dim=-1)

    def _hidden(self, taps: Tensor) -> Tensor:
        """The convolution's sum over its three taps, norm and activation: ``(B, T, F, H)``."""
        d = self.dilation
        before, here, after = taps.chunk(3, dim=-1)
        y = here + self.down_bias
        if y.shape[1] > d:
            y = (
                y
                + F.pad(before[:, :-d], (0, 0, 0, 0, d, 0))
                + F.pad(after[:, d:], (0, 0, 0, 0, 0, d))
            )
        variance, mean = torch.var_mean(y, dim=(1, 3), correction=0, keepdim=True)
        gain = (variance + NORM_EPS).rsqrt() * self.down_gain  # (B, 1, F, H)
        return F.gelu(y * gain + (self.down_shift - mean * gain))

    def _columns(self, h: Tensor) -> Tensor:
        """``h``, 1 and the mean of ``W h + b``, all over its deviation: ``(B, T, F, H + 2)``."""
        center = h.mean(dim=1, keepdim=True)  # (B, 1, F, H)
        rows = (h - center).transpose(1, 2)  # (B, F, T, H)
        covariance = rows.mT @ rows / h.shape[1]  # (B, F, H, H)
        means = F.linear(center, self.up, self.up_bias)  # of each of the 2D features
        spread, mean = torch.var_mean(means, dim=-1, correction=0, keepdim=True)
        gram = self.up.T @ self.up / len(self.up)
        variance = (covariance * gram).sum(dim=(-2, -1))[:, None, :, None] + spread
        inverse = (variance + NORM_EPS).rsqrt()  # (B, 1, F, 1)
        ends = torch.cat((inverse, inverse * mean), dim=-1).expand(-1, h.shape[1], -1, -1)
        return torch.cat((h * inverse, ends), dim=-1)


class Level(nn.Module):
    """What encoder and decoder levels share.

    Args:
        model: the section ``model``.
        level: of the U-Net, 0 for the finest.
        wave: of waveforms, whose time is strided; else of spectrograms, whose frequency is.
    """

    def __init__(self, model: HTDemucsConfig, level: int, wave: bool) -> None:
        super().__init__()
        self.wave, self.dim = wave, model.widths[level]
        hidden = max(1, self.dim // model.dconv_compress)
        self.dconv = nn.ModuleList(
            [DilatedConv(self.dim, hidden, 2**index) for index in range(model.dconv_depth)]
        )

    def strided_last(self, x: Tensor) -> Tensor:
        """Bring the axis that is strided next to the features, or back."""
        return x.transpose(1, 2) if self.wave else x

    def residual(self, x: Tensor) -> Tensor:
        """Add what each dilated convolution gives."""
        for conv in self.dconv:
            x = x + conv(x)
        return x


class EncoderLevel(Level):
    """Convolution to a quarter of the length, dilated convolutions, gated map.

    Shape:
        ``(B, T, F, C) -> (B, T, F / 4, D)``; waves: ``(B, N, 1, C) -> (B, ceil(N / 4), 1, D)``.
    """

    def __init__(self, model: HTDemucsConfig, level: int, wave: bool, inputs: int) -> None:
        super().__init__(model, level, wave)
        self.conv = StridedConv(inputs if level == 0 else model.widths[level - 1], self.dim)
        self.rewrite, self.rewrite_bias = drawn((2 * self.dim, self.dim), 2 * self.dim, self.dim)

    def forward(self, x: Tensor, run: Run) -> Tensor:
        """To the next coarser level."""
        x = run("path", self._start, x)
        x = run("path", self.residual, x)
        return run("path", self._gate, x)

    def _start(self, x: Tensor) -> Tensor:
        return F.gelu(self.strided_last(self.conv(self.strided_last(x))))

    def _gate(self, x: Tensor) -> Tensor:
        return F.glu(F.linear(x, self.rewrite, self.rewrite_bias), dim=-1)


class DecoderLevel(Level):
    """Gated convolution over neighbors, dilated convolutions, convolution to four times the length.

    Shape:
        as `EncoderLevel`, the other way.
    """

    def __init__(self, model: HTDemucsConfig, level: int, wave: bool, outputs: int) -> None:
        super().__init__(model, level, wave)
        self.last = level == 0
        kernel = (3, 1) if wave else (3, 3)
        shape = (2 * self.dim, self.dim, *kernel)
        self.rewrite, self.rewrite_bias = drawn(shape, shape[0], math.prod(shape[1:]))
        self.conv = StridedTranspose(self.dim, outputs if self.last else model.widths[level - 1])

    def forward(self, x: Tensor, skip: Tensor, length: int, run: Run) -> Tensor:
        """To the next finer level, ``length`` long.

        Args:
            x: from the coarser level.
            skip: from the encoder, of the same shape.
            length: of the strided axis of the result.
            run: of the separator.
        """
        x = run("path", self._gate, x + skip)
        x = run("path", self.residual, x)
        return run("path", self._end, x, length)

    def _gate(self, x: Tensor) -> Tensor:
        kernel = self.rewrite.contiguous(memory_format=torch.channels_last)
        padding = (1, 0) if self.wave else (1, 1)
        y = F.conv2d(x.permute(0, 3, 1, 2), kernel, self.rewrite_bias, padding=padding)
        return F.glu(y.permute(0, 2, 3, 1), dim=-1)

    def _end(self, x: Tensor, length: int) -> Tensor:
        y = self.strided_last(self.conv(self.strided_last(x), length))
        return y if self.last else F.gelu(y)


def drawn(shape: tuple[int, ...], outputs: int, fan_in: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Weights of ``shape`` and a bias, drawn uniformly as PyTorch does, then rescaled.

    The rescaling of Demucs (Défossez et al., arXiv:1911.13254) brings the standard deviation
    half of the way to 0.1, on a logarithmic scale.
    """
    bound = 1 / math.sqrt(max(1, fan_in))
    bound *= math.sqrt(_TARGET_STD * math.sqrt(3) / bound)
    weight = torch.empty(shape).uniform_(-bound, bound)
    return nn.Parameter(weight), nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
