"""Spleeter: a U-Net per stem estimates its magnitude, ratios of their squares are the masks.

Source: Hennequin et al., "Spleeter" (JOSS 2020), as published for TensorFlow.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.device import full_precision
from mssctl.models.base import SpectralSeparator
from mssctl.models.pairs import magnitude
from mssctl.models.run_config import RunConfig
from mssctl.models.spleeter.config import SpleeterConfig

_DEPTH = 6
_KERNEL = 5
_EPS = 1e-3  # of the batch norms
_SLOPE = 0.2  # of the rectifiers
_FLOOR = 1e-10  # added to the sum of squares; its half to each of the two


class FixedNorm(nn.Module):
    """Batch norm by the statistics of the training it was published with.

    Shape:
        ``(B, D, T, F) -> (B, D, T, F)``.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each feature."""
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=_EPS
        )


class UNet(nn.Module):
    """Six convolutions down, six up with skips, and a mask of the input.

    Shape:
        magnitudes ``(B, C, T, F) -> (B, C, T, F)``, ``T`` and ``F`` multiples of 64.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        sizes = [width * 2**level for level in range(_DEPTH)]
        ups = [*sizes[-2::-1], 1]
        inputs = [sizes[-1], *(2 * size for size in ups[:-1])]
        self.down = nn.ModuleList(
            [
                nn.Conv2d(source, size, _KERNEL, stride=2)
                for source, size in zip([channels, *sizes[:-1]], sizes, strict=True)
            ]
        )
        self.down_norm = nn.ModuleList([FixedNorm(size) for size in sizes[:-1]])
        self.up = nn.ModuleList(
            [
                nn.ConvTranspose2d(source, size, _KERNEL, stride=2)
                for source, size in zip(inputs, ups, strict=True)
            ]
        )
        self.up_norm = nn.ModuleList([FixedNorm(size) for size in ups])
        self.mask = nn.Conv2d(1, channels, 4, dilation=2, padding=3)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Estimate the magnitude of a stem."""
        x, skips = magnitude, []
        for level, conv in enumerate(self.down):
            x = conv(F.pad(x, (1, 2, 1, 2)))
            skips.append(x)
            if level < _DEPTH - 1:  # the lowest goes up as it is
                x = F.leaky_relu(self.down_norm[level](x), _SLOPE)
        for level, (conv, norm) in enumerate(zip(self.up, self.up_norm, strict=True)):
            x = x if level == 0 else torch.cat((skips[-1 - level], x), dim=1)
            x = norm(F.relu(conv(x)[..., 1:-2, 1:-2]))
        return self.mask(x).sigmoid() * magnitude  # type: ignore[no-any-return]


class Spleeter(SpectralSeparator):
    """The whole separator.

    Shape:
        ``spectrum_real``: ``(B, C, F, T, 2) -> (B, S, C, F, T, 2)``.
    """

    def __init__(self, config: RunConfig) -> None:
        model, audio = SpleeterConfig.of(config), config.audio
        super().__init__(audio, config.stft, normalize=False)
        self.stft.pad_mode = "constant"
        self.bins, self.frames = model.bins, model.frames
        self.nets = nn.ModuleList([UNet(audio.channels, model.width) for _ in audio.outputs])

    def spectrum_real(self, spec: Tensor) -> Tensor:
        """Separate a spectrogram, ``frames`` frames at a time."""
        count = spec.shape[3]
        low = magnitude(spec[:, :, : self.bins]).transpose(2, 3)  # (B, C, T, F)
        low = F.pad(low, (0, 0, 0, -count % self.frames))
        pieces = low.unflatten(2, (-1, self.frames)).transpose(1, 2)  # (B, P, C, frames, F)
        # On a CPU a piece at a time stays in the cache, and needs less memory.
        parts = pieces.flatten(0, 1).split(1 if spec.device.type == "cpu" else 16)
        squares = [
            torch.cat([net(part).float().square() for part in parts]).view_as(pieces)
            for net in self.nets
        ]
        with full_precision(spec.device):
            total = torch.stack(squares).sum(dim=0) + _FLOOR
            masks = torch.stack([(one + _FLOOR / 2) / total for one in squares], dim=1)
            masks = masks.transpose(2, 3).flatten(3, 4)[..., :count, :]  # (B, S, C, T, F)
            masks = F.pad(masks.transpose(3, 4), (0, 0, 0, spec.shape[2] - self.bins))
            return masks[..., None] * spec[:, None]
