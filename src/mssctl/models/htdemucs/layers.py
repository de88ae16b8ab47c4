"""The levels of HTDemucs' two U-Nets, in one form for spectrogram and waveform.

Features come last, so that most convolutions are matrix products on memory as it lies: spectrograms
are ``(B, T, F, D)``, waveforms ``(B, 1, N, D)``; both have four times fewer positions on the third
axis at each level.
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
_PIECE = 1 << 19  # values at once: 2 MiB in float32


class Run(Protocol):
    """`Separator.run`."""

    def __call__(self, level: str, function: Callable[..., Tensor], *args: object) -> Tensor:
        """Call ``function``, recomputing it in backward if checkpointing is at ``level``."""


class StridedConv(nn.Module):
    """A convolution of 8 taps and stride 4 along the third axis.

    Shape:
        ``(B, ., L, C) -> (B, ., ceil(L / 4), D)``.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = drawn((outputs, _KERNEL * inputs), outputs, _KERNEL * inputs)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` lies in memory as oneDNN and cuDNN want it: features last."""
        if ragged := -x.shape[-2] % STRIDE:
            x = F.pad(x, (0, 0, 0, ragged))
        kernel = self.weight.unflatten(1, (_KERNEL, -1)).mT[:, :, None]  # (D, C, 1, 8)
        y = F.conv2d(
            x.permute(0, 3, 1, 2), kernel, self.bias, stride=(1, STRIDE), padding=(0, STRIDE // 2)
        )
        return y.permute(0, 2, 3, 1)


class StridedTranspose(nn.Module):
    """A transposed convolution of 8 taps and stride 4 along the third axis.

    Shape:
        ``(B, ., L, C) -> (B, ., length, D)``, for a ``length`` that `StridedConv` makes ``L`` of.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = drawn((_KERNEL * outputs, inputs), outputs, _KERNEL * outputs)

    def forward(self, x: Tensor, length: int) -> Tensor:
        """The first 4 taps of each position meet the last 4 of the one before."""
        here, after = F.linear(x, self.weight).chunk(2, dim=-1)  # (..., L, 4D) each
        groups = F.pad(here, (0, 0, 0, 1))  # (..., L + 1, 4D)
        groups[..., 1:, :] += after
        y: Tensor = groups.unflatten(-1, (STRIDE, -1)).flatten(-3, -2)  # (..., 4L + 4, D)
        return y[..., STRIDE // 2 : STRIDE // 2 + length, :] + self.bias


class DilatedConv(nn.Module):
    """A residual branch: dilated convolution to few features, and back through a gated map.

    ``y = x + scale * GLU(norm(W gelu(norm(conv(x)))))``, where both norms are over time and
    features of each row of frequency. The second one needs no pass over its many features: mean and
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
        """The input and the branch, added."""
        taps = F.linear(x, self.down)  # (B, T, F, 3H)
        with full_precision(x.device):
            columns = self._columns(self._hidden(taps.float()))
        factor = torch.cat((self.scale, torch.ones_like(self.scale)))  # of values and gates
        gain = self.up_gain * factor
        weight = torch.cat((self.up, self.up_bias[:, None], -torch.ones_like(gain)[:, None]), dim=1)
        return gated(columns, weight * gain[:, None], self.up_shift * factor, onto=x)

    def _hidden(self, taps: Tensor) -> Tensor:
        """The convolution's sum over its three taps, norm and activation: ``(B, T, F, H)``."""
        d = self.dilation
        before, here, after = taps.chunk(3, dim=-1)
        y = here + self.down_bias
        if y.shape[1] > d:
            y[:, d:] += before[:, :-d]
            y[:, :-d] += after[:, d:]
        center = y.mean(dim=1, keepdim=True)  # (B, 1, F, H)
        mean = center.mean(dim=-1, keepdim=True)
        y = y - center
        variance = y.square().mean(dim=1, keepdim=True) + (center - mean).square()
        gain = (variance.mean(dim=-1, keepdim=True) + NORM_EPS).rsqrt() * self.down_gain
        return F.gelu(torch.addcmul(self.down_shift + (center - mean) * gain, y, gain))

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

    def residual(self, x: Tensor) -> Tensor:
        """The dilated convolutions along time, which is the third axis of waves."""
        x = x.transpose(1, 2) if self.wave else x
        for conv in self.dconv:
            x = conv(x)
        return x.transpose(1, 2) if self.wave else x


class EncoderLevel(Level):
    """Convolution to a quarter of the length, dilated convolutions, gated map.

    Shape:
        ``(B, T, F, C) -> (B, T, F / 4, D)``; waves: ``(B, 1, N, C) -> (B, 1, ceil(N / 4), D)``.
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
        return in_pieces(lambda piece: F.gelu(self.conv(piece)), x, 1, x.shape[2] * self.dim)

    def _gate(self, x: Tensor) -> Tensor:
        return gated(x, self.rewrite, self.rewrite_bias)


class DecoderLevel(Level):
    """Gated convolution over neighbors, dilated convolutions, convolution to four times the length.

    Shape:
        as `EncoderLevel`, the other way.
    """

    def __init__(self, model: HTDemucsConfig, level: int, wave: bool, outputs: int) -> None:
        super().__init__(model, level, wave)
        self.last = level == 0
        shape = (2 * self.dim, 1 if wave else 3, 3, self.dim)  # as the second to last axes of `x`
        self.rewrite, self.rewrite_bias = drawn(shape, shape[0], math.prod(shape[1:]))
        self.conv = StridedTranspose(self.dim, outputs if self.last else model.widths[level - 1])

    def forward(self, x: Tensor, skip: Tensor, length: int, run: Run) -> Tensor:
        """To the next finer level, ``length`` long.

        Args:
            x: from the coarser level.
            skip: from the encoder, of the same shape.
            length: of the third axis of the result.
            run: of the separator.
        """
        x = run("path", self._gate, added(x, skip))
        x = run("path", self.residual, x)
        return run("path", self._end, x, length)

    def _gate(self, x: Tensor) -> Tensor:
        kernel = self.rewrite.permute(0, 3, 1, 2)
        padding = (0, 1) if self.wave else (1, 1)
        y = F.conv2d(x.permute(0, 3, 1, 2), kernel, self.rewrite_bias, padding=padding)
        return F.glu(y.permute(0, 2, 3, 1), dim=-1)

    def _end(self, x: Tensor, length: int) -> Tensor:
        def end(piece: Tensor) -> Tensor:
            y = self.conv(piece, length)
            return y if self.last else F.gelu(y)

        return in_pieces(end, x, 1, 2 * length * len(self.conv.bias))


def gated(x: Tensor, weight: Tensor, bias: Tensor, onto: Tensor | None = None) -> Tensor:
    """A gated map ``GLU(x Wᵀ + b)`` of each position, added to ``onto`` if that is given.

    Where no gradient is needed, ``onto`` is changed.

    Shape:
        ``(..., C) -> (..., D)``, with weights ``(2D, C)``.
    """

    def gate(piece: Tensor) -> Tensor:
        return F.glu(F.linear(piece, weight, bias), dim=-1)

    rows = x.flatten(0, -2)
    if onto is None or torch.is_grad_enabled():
        y = in_pieces(gate, rows, 0, len(weight)).view(*x.shape[:-1], -1)
        return y if onto is None else onto + y
    size = _piece(rows, len(weight))
    sums = onto.view(len(rows), -1)
    for part, piece in zip(sums.split(size), rows.split(size), strict=True):
        part.add_(gate(piece))
    return onto


def in_pieces(function: Callable[[Tensor], Tensor], x: Tensor, axis: int, values: int) -> Tensor:
    """Call a function that treats each position along ``axis`` alone.

    On a CPU, where no gradient is needed, it is called for pieces that stay in the cache.

    Args:
        function: of ``x`` or a piece of it.
        x: any tensor.
        axis: of the positions.
        values: that the function makes of each position, roughly.
    """
    size = x.shape[axis] if torch.is_grad_enabled() else _piece(x, values, axis)
    if size >= x.shape[axis]:
        return function(x)
    first, *rest = x.split(size, dim=axis)
    piece = function(first)
    shape = list(piece.shape)
    shape[axis] = x.shape[axis]
    y = piece.new_empty(shape)
    parts = y.split(size, dim=axis)
    parts[0].copy_(piece)
    for part, more in zip(parts[1:], rest, strict=True):
        part.copy_(function(more))
    return y


def added(x: Tensor, y: Tensor) -> Tensor:
    """``x + y``; where no gradient is needed, ``x`` is changed."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


def _piece(x: Tensor, values: int, axis: int = 0) -> int:
    """Positions at once."""
    return max(1, _PIECE // values) if x.device.type == "cpu" else x.shape[axis]


def drawn(shape: tuple[int, ...], outputs: int, fan_in: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Weights of ``shape`` and a bias, drawn uniformly as PyTorch does, then rescaled.

    The rescaling of Demucs (Défossez et al., arXiv:1911.13254) brings the standard deviation
    half of the way to 0.1, on a logarithmic scale.
    """
    bound = 1 / math.sqrt(max(1, fan_in))
    bound *= math.sqrt(_TARGET_STD * math.sqrt(3) / bound)
    weight = torch.empty(shape).uniform_(-bound, bound)
    return nn.Parameter(weight), nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
