"""L1 on waveforms plus L1 on complex spectrograms at several windows."""

from functools import cache

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from mssctl.config.losses import BSMamba2LossConfig
from mssctl.training.losses import Terms, stem_weights, weighted


def loss(
    estimate: Tensor, target: Tensor, _mix: Tensor, config: BSMamba2LossConfig
) -> tuple[Tensor, Terms]:
    """L1 on waveforms, weighted, plus L1 on complex spectrograms, summed over windows.

    The distance of two complex values is the modulus of their difference. Source: BSMamba2
    (arXiv:2508.14556).
    """
    # The transform of the difference is the difference.
    error = weighted(estimate - target, stem_weights(estimate, config))
    distances = [spectrum(error, w, config).abs().mean() for w in config.multi_stft_window_sizes]
    return summed(error.abs().mean(), distances, config.l1_time_weight)


def summed(l1: Tensor, distances: list[Tensor], l1_weight: float) -> tuple[Tensor, Terms]:
    """The weighted L1 on waveforms plus the distances of spectrograms."""
    spectral = torch.stack(distances).sum()
    return l1_weight * l1 + spectral, {"l1": l1, "spectral": spectral}


def spectrum(x: Tensor, window: int, config: BSMamba2LossConfig) -> Tensor:
    """``(B, S, C, N)`` -> ``(B * S * C, F, T)`` complex: centered, reflect padding."""
    # A window made under fake tensors is itself a fake one, and must not be kept.
    hann = torch.hann_window if isinstance(x, FakeTensor) else _kept_window
    return torch.stft(
        x.flatten(0, -2),
        max(window, config.multi_stft_n_fft_min),
        hop_length=config.multi_stft_hop_size,
        win_length=window,
        window=hann(window, dtype=x.dtype, device=x.device),
        return_complex=True,
    )


@cache
def _kept_window(length: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Periodic Hann window, made once per length, dtype and device."""
    return torch.hann_window(length, dtype=dtype, device=device)
