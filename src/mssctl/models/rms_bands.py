"""Band split and masks by bands of models that normalize each band of each frame.

Source: BS-RoFormer (Lu et al., arXiv:2309.02612), whose front and back end other models share.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.device import full_precision
from mssctl.models.bands import BandLinear, equal_runs
from mssctl.models.pieces import at_once


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
            x = x.float()
            norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(1e-12)
            y: Tensor = x * (x.shape[-1] ** 0.5 / norm) * self.gain
            return y


class RMSBandSplit(nn.Module):
    """Turn each band of each frame into one feature vector, by a norm and a linear map per band.

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
        self.norm = nn.ModuleList([UnitNorm(bands, 1, size) for bands, size in sizes])
        self.linear = nn.ModuleList([BandLinear(bands, size, dim) for bands, size in sizes])

    def forward(self, spec: Tensor) -> Tensor:
        """Split and embed the bands of ``spec``."""
        batch, frames = spec.shape[0], spec.shape[3]
        x = spec.permute(2, 0, 3, 1, 4)  # (F, B, T, C, 2)
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
    """The complex mask of one stem, by an MLP per band.

    ``depth`` linear maps with a tanh between them, then a gated linear unit.

    Args:
        widths: STFT bins per band.
        channels: audio channels ``C``.
        dim: features per band ``D``.
        expansion: the hidden layers have ``expansion * dim`` features.
        depth: linear maps, at least 1.

    Shape:
        input ``(B, T, K, D)`` -> output ``(B, C, F, T, 2)`` float32, unbounded.
    """

    def __init__(
        self, widths: Sequence[int], channels: int, dim: int, expansion: int, depth: int = 2
    ) -> None:
        super().__init__()
        self.runs, self.channels = equal_runs(widths), channels
        hidden, bands = expansion * dim, len(widths)
        self.first = BandLinear(bands, dim, hidden) if depth > 1 else None
        self.middle = nn.ModuleList([BandLinear(bands, hidden, hidden) for _ in range(depth - 2)])
        inputs = hidden if depth > 1 else dim
        self.last = nn.ModuleList(
            [BandLinear(count, inputs, 2 * 2 * channels * width) for count, width in self.runs]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Predict the mask from band features."""
        batch, frames, bands, dim = x.shape
        x = x.permute(2, 0, 1, 3).reshape(bands, batch * frames, dim)  # (K, B·T, D)
        outputs = []
        for values, width in self._unbounded(x):
            y = F.glu(values, dim=-1).float()  # (n, B·T, w·C·2)
            y = y.reshape(-1, batch, frames, width, self.channels, 2)
            y = y.permute(1, 4, 0, 3, 2, 5)  # (B, C, n, w, T, 2)
            outputs.append(y.reshape(batch, self.channels, -1, frames, 2))
        return torch.cat(outputs, dim=2)

    def _unbounded(self, x: Tensor) -> Iterator[tuple[Tensor, int]]:
        """What the gated linear unit takes of each run, or of fewer bands at once, and the width.

        ``(K, N, D) -> (n, N, 2·w·C·2)``, low to high.
        """
        bands = x.shape[0]
        count = at_once(bands, x.shape[1], x.device)
        hidden = self._hidden(x, None) if count == bands else None
        low = 0
        for last, (n, width) in zip(self.last, self.runs, strict=True):
            if hidden is not None:
                yield last(hidden[low : low + n]), width
            else:
                for start in range(0, n, count):
                    some = slice(start, min(n, start + count))
                    part = self._hidden(x, slice(low + some.start, low + some.stop))
                    yield last(part, some), width
            low += n

    def _hidden(self, x: Tensor, bands: slice | None) -> Tensor:
        """All but the last linear map, of all or of some bands."""
        x = x if bands is None else x[bands]
        for linear in (self.first, *self.middle):
            if isinstance(linear, BandLinear):
                x = torch.tanh(linear(x, bands))
        return x
