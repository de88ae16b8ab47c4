"""SCNet: sparse compression of bands, dual-path recurrence, and expansion with skips.

Source: Tong et al., "SCNet: Sparse Compression Network for Music Source Separation"
(arXiv:2401.13276), as in public weights.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.device import full_precision
from mssctl.models.base import SpectralSeparator
from mssctl.models.pieces import at_once, joined
from mssctl.models.run_config import RunConfig
from mssctl.models.scnet.config import SCNetConfig

_VALUES = 1 << 21  # of an input that is computed at once, 8 MiB
_ROWS = 64  # sequences in an LSTM at once; fewer are slower


class ConvModule(nn.Module):
    """Residual branches along time: norm, gated convolution, depthwise convolution, norm.

    Shape:
        ``(N, D, T) -> (N, D, T)``.
    """

    def __init__(self, dim: int, depth: int, model: SCNetConfig) -> None:
        super().__init__()
        hidden, kernel = dim // model.compress, model.conv_kernel
        self.layers = nn.ModuleList(
            [
                nn.Sequential(
                    nn.GroupNorm(1, dim),
                    nn.Conv1d(dim, 2 * hidden, kernel, padding=kernel // 2),
                    nn.GLU(dim=1),
                    nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden),
                    nn.GroupNorm(1, hidden),
                    nn.SiLU(),
                    nn.Conv1d(hidden, dim, 1),
                )
                for _ in range(depth)
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Run the branches one after the other."""
        for layer in self.layers:
            x = x + layer(x)
        return x


class Level(nn.Module):
    """Compress each band along frequency, refine it along time, and look at all bands together.

    Shape:
        ``(B, D, F, T)`` -> what goes on, and the skip, each ``(B, D', F', T)``; and the bins of
        each band after and before.
    """

    def __init__(self, inputs: int, dim: int, model: SCNetConfig) -> None:
        super().__init__()
        self.shares, self.strides = model.band_shares, model.band_strides
        kinds = list(zip(model.band_kernels, model.band_strides, strict=True))
        self.down = nn.ModuleList(
            [nn.Conv2d(inputs, dim, (kernel, 1), (stride, 1)) for kernel, stride in kinds]
        )
        self.refine = nn.ModuleList([ConvModule(dim, depth, model) for depth in model.conv_depths])
        self.join = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, list[int], list[int]]:
        """Go down one level."""
        edges = [math.ceil(x.shape[2] * share) for share in accumulate(self.shares[:2])]
        before = [high - low for low, high in pairwise([0, *edges, x.shape[2]])]
        after = [_divided(n, *_sizes(conv)) for n, conv in zip(before, self.down, strict=True)]
        skip = joined(self._bands(x.split(before, dim=2)), sum(after), dim=2)
        parts = (self.join(skip[..., near])[..., own] for near, own in _pieces(skip, 1))
        return joined(parts, skip.shape[3], dim=3), skip, after, before

    def _bands(self, bands: Sequence[Tensor]) -> Iterator[Tensor]:
        """Compress and refine each band, a few bins ``(B, D', r, T)`` at once."""
        for band, conv, refine in zip(bands, self.down, self.refine, strict=True):
            y = conv(_padded(band, *_sizes(conv)))  # (B, D', F_b', T)
            count = at_once(y.shape[2], y[:, :, 0].numel(), y.device, _VALUES)
            for part in y.split(count, dim=2):
                rows = part.transpose(1, 2)  # (B, r, D', T)
                yield F.gelu(refine(rows.flatten(0, 1))).view_as(rows).transpose(1, 2)


def _sizes(conv: nn.Module) -> tuple[int, int]:
    """Kernel and stride along frequency."""
    assert isinstance(conv, nn.Conv2d)
    return conv.kernel_size[0], conv.stride[0]


def _padded(x: Tensor, kernel: int, stride: int) -> Tensor:
    """As many bins as the convolution can divide, the same number added on either side."""
    missing = _missing(x.shape[2], kernel, stride)
    return F.pad(x, (0, 0, missing // 2, missing - missing // 2))


def _missing(bins: int, kernel: int, stride: int) -> int:
    return kernel - 1 if stride == 1 else -bins % stride


def _divided(bins: int, kernel: int, stride: int) -> int:
    """How many of ``bins`` are left after padding and convolution."""
    return (bins + _missing(bins, kernel, stride) - kernel) // stride + 1


def _pieces(x: Tensor, width: int) -> Iterator[tuple[slice, slice]]:
    """Frames of ``(B, D, F, T)`` that are convolved at once, for a kernel of three frames.

    Args:
        x: the input.
        width: features of the convolution's output as a multiple of ``D``.

    Yields:
        The frames with one more on either side, and where they themselves are among those.
    """
    frames = x.shape[3]
    count = at_once(frames, width * x[..., 0].numel(), x.device, _VALUES)
    for start in range(0, frames, count):
        low, stop = max(0, start - 1), min(start + count, frames)
        yield slice(low, min(stop + 1, frames)), slice(start - low, stop - low)


class Expansion(nn.Module):
    """Fuse a level with its skip by a gate, and expand each band again.

    Shape:
        ``(B, D, F', T)`` -> ``(B, D', F, T)``.
    """

    def __init__(self, dim: int, outputs: int, model: SCNetConfig) -> None:
        super().__init__()
        kinds = list(zip(model.band_kernels, model.band_strides, strict=True))
        self.fuse = nn.Conv2d(2 * dim, 2 * dim, 3, padding=1)
        self.up = nn.ModuleList(
            [nn.ConvTranspose2d(dim, outputs, (kernel, 1), (stride, 1)) for kernel, stride in kinds]
        )

    def forward(
        self, x: Tensor, skip: Tensor, lengths: Sequence[int], before: Sequence[int]
    ) -> Tensor:
        """Go up one level, to ``before`` bins in each band."""
        # The convolution was trained on the same features twice. Adding its weights up first
        # halves the arithmetic.
        assert isinstance(self.fuse, nn.Conv2d)
        weight = self.fuse.weight.unflatten(1, (2, -1)).sum(dim=1)  # (2·D, D, 3, 3)

        def part(near: slice, own: slice) -> Tensor:
            y = F.conv2d(x[..., near] + skip[..., near], weight, self.fuse.bias, padding=1)
            y = F.glu(y[..., own], dim=1)
            return self._expand(y, lengths, before)

        return joined((part(*piece) for piece in _pieces(x, 2)), x.shape[3], dim=3)

    def _expand(self, x: Tensor, lengths: Sequence[int], before: Sequence[int]) -> Tensor:
        """Expand each band, each frame by itself."""
        bands = []
        for part, conv, length in zip(x.split(list(lengths), dim=2), self.up, before, strict=True):
            y = conv(part)
            bands.append(y.narrow(2, abs(y.shape[2] - length) // 2, length))
        return torch.cat(bands, dim=2)


class DualPath(nn.Module):
    """An LSTM along frequency, then one along time, each a pre-norm residual branch.

    Without gradients, on a CPU, it overwrites an input that it computes in pieces.

    Shape:
        ``(B, D, F, T) -> (B, D, F, T)``.
    """

    def __init__(self, dim: int, expand: int) -> None:
        super().__init__()
        hidden = dim * expand
        self.norms = nn.ModuleList([nn.GroupNorm(1, dim) for _ in range(2)])
        self.lstms = nn.ModuleList([nn.LSTM(dim, hidden, bidirectional=True) for _ in range(2)])
        self.maps = nn.ModuleList([nn.Linear(2 * hidden, dim) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        """Run both branches."""
        x = self._branch(0, x.transpose(2, 3)).transpose(2, 3)
        return self._branch(1, x)

    def _branch(self, index: int, x: Tensor) -> Tensor:
        """Add the branch along the last axis of ``(B, D, R, L)``."""
        y, rows = self.norms[index](x), x.shape[2]
        count = at_once(rows, 1, x.device, _ROWS)
        if count == rows:
            return x + self._sequences(index, y)
        # As many rows each time: oneDNN keeps scratch memory for every number it has seen.
        count = math.ceil(rows / math.ceil(rows / count))
        done = 0
        while done < rows:
            start = min(done, rows - count)
            part = self._sequences(index, y[:, :, start : start + count])
            x[:, :, done : start + count] += part[:, :, done - start :]
            done = start + count
        return x

    def _sequences(self, index: int, x: Tensor) -> Tensor:
        """LSTM and map along the last axis of ``(B, D, R, L)``."""
        steps = x.permute(3, 0, 2, 1)  # (L, B, R, D)
        y, _ = self.lstms[index](steps.flatten(1, 2))
        return self.maps[index](y).view(steps.shape).permute(1, 3, 2, 0)  # type: ignore[no-any-return]


class SCNet(SpectralSeparator):
    """The whole separator; it estimates spectrograms, not masks.

    Shape:
        ``spectrum_real``: ``(B, C, F, T, 2) -> (B, S, C, F, T, 2)``, ``T`` even.
    """

    def __init__(self, config: RunConfig) -> None:
        model, audio = SCNetConfig.of(config), config.audio
        super().__init__(audio, config.stft, normalize=False)
        first, *_, last = dims = [2 * audio.channels, *model.dims]
        outputs = [first * len(audio.outputs), *dims[1:-1]]
        self.encoder = nn.ModuleList([Level(low, high, model) for low, high in pairwise(dims)])
        self.paths = nn.ModuleList(
            [DualPath(last * (1 + index % 2), model.expand) for index in range(model.n_layers)]
        )
        self.decoder = nn.ModuleList(
            [
                Expansion(dim, out, model)
                for dim, out in zip(reversed(dims[1:]), reversed(outputs), strict=True)
            ]
        )

    def forward(self, mix: Tensor) -> Tensor:
        """Split ``(B, C, N)`` into ``(B, S, C, N)``; the network sees an even number of frames."""
        length = mix.shape[-1]
        padded = (self.frames_of(length) - 1) * self.stft.hop_length
        stems: Tensor = super().forward(F.pad(mix, (0, padded - length)))
        return stems[..., :length]

    def frames_of(self, length: int) -> int:
        """An even number, at least one more than there are."""
        least = max(length, self.stft.n_fft // 2 + 1)  # what the transform can reflect
        frames = least // self.stft.hop_length + 2
        return frames + frames % 2

    def spectrum_real(self, spec: Tensor) -> Tensor:
        """Separate a spectrogram."""
        scale = self.stft.n_fft**-0.5
        x = (spec * scale).permute(0, 1, 4, 2, 3).flatten(1, 2)  # (B, C·2, F, T)
        levels = []
        for level in self.encoder:
            x, *rest = self.run("block", level, x)
            levels.append(rest)
        # Recurrent layers and expansions work on the features of one bin after the other.
        x = x.contiguous(memory_format=torch.channels_last)
        for index, path in enumerate(self.paths):
            x = self.run("block", path, x)
            x = _to_time(x) if index % 2 else _to_rate(x)
        for expansion in self.decoder:
            rest = levels.pop()
            x = self.run("block", expansion, x, *rest)
        x = x.float() / scale
        x = x.permute(0, 2, 3, 1).contiguous()
        stems: Tensor = x.unflatten(3, (len(self.stems), self.channels, 2))  # (B, F, T, S, C, 2)
        return stems.permute(0, 3, 4, 1, 2, 5)


def _to_rate(x: Tensor) -> Tensor:
    """Real transform along time, ``(B, D, F, T) -> (B, 2·D, F, T / 2 + 1)``."""
    with full_precision(x.device):
        y = torch.fft.rfft(x.float().permute(0, 2, 3, 1), dim=2, norm="ortho")  # (B, F, T', D)
        return torch.cat((y.real, y.imag), dim=3).permute(0, 3, 1, 2)


def _to_time(x: Tensor) -> Tensor:
    """The inverse of `_to_rate`."""
    with full_precision(x.device):
        real, imag = x.float().permute(0, 2, 3, 1).chunk(2, dim=3)
        y = torch.fft.irfft(torch.complex(real, imag), dim=2, norm="ortho")
        features: Tensor = y.permute(0, 3, 1, 2)
        return features
