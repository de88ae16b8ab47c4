"""BSMamba2: Mamba-2 mixers along time and along bands, in both directions.

Source: Kim & Choi, BSMamba2 (arXiv:2508.14556), sizes and initialization as released. A state
space model costs the same per frame at any length.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.device import full_precision
from mssctl.models.bands import BandLinear, band_widths, equal_runs
from mssctl.models.base import SpectralSeparator
from mssctl.models.bsmamba2.config import BSMamba2Config
from mssctl.models.bsmamba2.mamba2 import Mamba2, RMSNorm
from mssctl.models.bsmamba2.scans import choose_scan
from mssctl.models.run_config import RunConfig


class UnitNorm(nn.Module):
    """Scale to a root mean square of 1 over the last axis, then by a gain; in float32.

    Shape:
        ``(..., D) -> (..., D)``; ``shape`` of the gain ends in ``D`` and is broadcast.
    """

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(*shape))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last axis; zeros stay zeros."""
        with full_precision(x.device):
            scale = x.shape[-1] ** 0.5
            y: Tensor = F.normalize(x.float(), dim=-1, eps=1e-12) * scale * self.gain
            return y


class RMSBandSplit(nn.Module):
    """Turn each band of each frame into one feature vector, by a norm and a linear map per band.

    Args:
        widths: STFT bins per band, low to high; they sum to ``F``.
        channels: audio channels ``C``.
        dim: features per band ``D``.

    Shape:
        input ``(B, C, F, T)`` complex -> output ``(B, T, K, D)``, ``K = len(widths)``.
    """

    def __init__(self, widths: Sequence[int], channels: int, dim: int) -> None:
        super().__init__()
        self.runs = equal_runs(widths)
        sizes = [(bands, 2 * channels * width) for bands, width in self.runs]
        self.norm = nn.ModuleList([UnitNorm(bands, 1, size) for bands, size in sizes])
        self.linear = nn.ModuleList([BandLinear(bands, size, dim) for bands, size in sizes])

    def forward(self, spec: Tensor) -> Tensor:
        """Split and embed the bands of ``spec``."""
        batch, frames = spec.shape[0], spec.shape[3]
        x = torch.view_as_real(spec).permute(2, 0, 3, 1, 4)  # (F, B, T, C, 2)
        parts = x.split([bands * width for bands, width in self.runs])
        outputs = []
        for part, (bands, width), norm, linear in zip(
            parts, self.runs, self.norm, self.linear, strict=True
        ):
            y = part.unflatten(0, (bands, width)).permute(0, 2, 3, 1, 4, 5)  # (K, B, T, w, C, 2)
            y = y.reshape(bands, batch * frames, -1)  # (K, B·T, w·C·2)
            outputs.append(linear(norm(y)))  # (K, B·T, D)
        bands_first = torch.cat(outputs).unflatten(1, (batch, frames))  # (K, B, T, D)
        return bands_first.permute(1, 2, 0, 3).contiguous()  # type: ignore[no-any-return]


class StemMask(nn.Module):
    """The complex mask of one stem, by an MLP per band: linear, tanh, linear, gated linear unit.

    Args:
        widths: STFT bins per band.
        channels: audio channels ``C``.
        dim: features per band ``D``.
        expansion: the hidden layer has ``expansion * dim`` features.

    Shape:
        input ``(B, T, K, D)`` -> output ``(B, C, F, T)`` complex64, unbounded.
    """

    def __init__(self, widths: Sequence[int], channels: int, dim: int, expansion: int) -> None:
        super().__init__()
        self.runs, self.channels = equal_runs(widths), channels
        hidden = expansion * dim
        self.first = BandLinear(len(widths), dim, hidden)
        self.last = nn.ModuleList(
            [BandLinear(bands, hidden, 2 * 2 * channels * width) for bands, width in self.runs]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Predict the mask from band features."""
        batch, frames, bands, dim = x.shape
        x = x.permute(2, 0, 1, 3).reshape(bands, batch * frames, dim)  # (K, B·T, D)
        x = torch.tanh(self.first(x))  # (K, B·T, hidden)
        outputs = []
        parts = x.split([n for n, _ in self.runs])
        for part, linear, (n, width) in zip(parts, self.last, self.runs, strict=True):
            y = F.glu(linear(part), dim=-1).float()  # (K, B·T, w·C·2)
            y = y.reshape(n, batch, frames, width, self.channels, 2)
            y = y.permute(1, 4, 0, 3, 2, 5)  # (B, C, K, w, T, 2)
            outputs.append(y.reshape(batch, self.channels, n * width, frames, 2))
        return torch.view_as_complex(torch.cat(outputs, dim=2).contiguous())


class Direction(nn.Module):
    """A pre-norm mixer with its residual, and this direction's half of the map that joins both.

    Shape:
        ``(N, L, D) -> (N, L, D)``.
    """

    def __init__(self, model: BSMamba2Config, *, reverse: bool) -> None:
        super().__init__()
        self.reverse = reverse
        self.norm = RMSNorm(model.emb_dim)
        self.mixer = Mamba2(model)
        self.join = nn.Linear(model.emb_dim, model.emb_dim, bias=False)
        _as_released(self.join.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Mix along the second axis, from its start or from its end."""
        x = x.flip(1) if self.reverse else x
        x = x + self.mixer(self.norm(x))
        x = x.flip(1) if self.reverse else x
        return self.join(x)  # type: ignore[no-any-return]


class MambaPath(nn.Module):
    """Both directions along one axis, each with weights of its own, and a residual.

    ``y = x + W [x + forward(x); x + backward(x)] + bias``; ``W`` is kept as one half per direction,
    so that a direction can be computed, and computed again, on its own.
    """

    def __init__(self, model: BSMamba2Config) -> None:
        super().__init__()
        self.ahead = Direction(model, reverse=False)
        self.back = Direction(model, reverse=True)
        self.bias = nn.Parameter(torch.empty(model.emb_dim))
        _as_released(self.bias)


def _as_released(parameter: Tensor) -> None:
    """Draw from the range of the transposed convolution that joins the directions elsewhere."""
    bound = parameter.shape[0] ** -0.5
    nn.init.uniform_(parameter, -bound, bound)


class MambaBlock(nn.Module):
    """One path along time, then one along bands."""

    def __init__(self, model: BSMamba2Config) -> None:
        super().__init__()
        self.time_path = MambaPath(model)
        self.band_path = MambaPath(model)


class BSMamba2(SpectralSeparator):
    """The whole separator: band split, ``n_layers`` blocks, a complex mask per stem.

    Checkpointing ``path`` recomputes each direction of each path, slice by slice, and each mask;
    it keeps one copy of the features per path. ``block`` recomputes a whole block at once, which
    takes far more memory here.

    Shape:
        ``spectrum``: ``(B, C, F, T)`` complex -> ``(B, S, C, F, T)`` complex.
    """

    def __init__(self, config: RunConfig) -> None:
        model, audio, stft = BSMamba2Config.of(config), config.audio, config.stft
        super().__init__(audio, stft, normalize=False)
        self.slice_positions, self.scan_backend = model.slice_positions, model.scan_backend
        widths = band_widths(model.freqs_per_bands, audio.sample_rate, stft.n_fft)
        self.encoder = RMSBandSplit(widths, audio.channels, model.emb_dim)
        self.blocks = nn.ModuleList([MambaBlock(model) for _ in range(model.n_layers)])
        self.norm = UnitNorm(model.emb_dim)
        self.masks = nn.ModuleList(
            [
                StemMask(widths, audio.channels, model.emb_dim, model.mask_expansion)
                for _ in audio.outputs
            ]
        )

    def spectrum(self, spec: Tensor) -> Tensor:
        """Separate a complex spectrogram."""
        x = self.encoder(spec)  # (B, T, K, D)
        for block in self.blocks:
            x = self.run("block", self._block, block, x)
        x = self.norm(x)
        masks = torch.stack([self.run("path", mask, x) for mask in self.masks], dim=1)
        return masks * spec[:, None]

    def backends(self) -> dict[str, str]:
        """The scan in force."""
        choice = choose_scan(self.scan_backend, next(self.parameters()).device)
        return {"scan": f"{choice.name}: {choice.reason}"}

    def _block(self, block: MambaBlock, x: Tensor) -> Tensor:
        x = self._along(block.time_path, x.transpose(1, 2)).transpose(1, 2)
        return self._along(block.band_path, x)

    def _along(self, path: MambaPath, x: Tensor) -> Tensor:
        """Take the third axis of ``x (B, R, L, D)`` as sequences, a slice of them at a time."""
        sequences = x.flatten(0, 1)  # (B·R, L, D)
        parts = []
        for part in sequences.split(max(1, self.slice_positions // sequences.shape[1])):
            ahead = self.run("path", path.ahead, part)
            back = self.run("path", path.back, part)
            parts.append(part + ahead + back + path.bias)
        return torch.cat(parts).view_as(x)
