"""BSMamba2: Mamba-2 mixers along time and along bands, in both directions.

Source: Kim & Choi, BSMamba2 (arXiv:2508.14556), sizes and initialization as released. A state
space model costs the same per frame at any length.
"""

import torch
from torch import Tensor, nn

from mssctl.models.bands import band_widths
from mssctl.models.base import SpectralSeparator
from mssctl.models.bsmamba2.config import BSMamba2Config
from mssctl.models.bsmamba2.mamba2 import Mamba2, RMSNorm
from mssctl.models.bsmamba2.scans import choose_scan
from mssctl.models.pairs import product
from mssctl.models.rms_bands import RMSBandSplit, StemMask, UnitNorm
from mssctl.models.run_config import RunConfig


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
        ``spectrum_real``: ``(B, C, F, T, 2) -> (B, S, C, F, T, 2)``.
    """

    heads = "masks"

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

    def spectrum_real(self, spec: Tensor) -> Tensor:
        """Separate a spectrogram."""
        x = self.encoder(spec)  # (B, T, K, D)
        for block in self.blocks:
            x = self.run("block", self._block, block, x)
        x = self.norm(x)
        masks = torch.stack([self.run("path", mask, x) for mask in self.masks], dim=1)
        return product(masks, spec[:, None])

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
