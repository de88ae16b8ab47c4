"""As ``bsmamba2``, with the distance of magnitudes in place of complex values."""

from torch import Tensor

from mssctl.config.losses import BSMamba2LightLossConfig
from mssctl.training.losses import Terms, stem_weights, weighted
from mssctl.training.losses.bsmamba2 import spectrum, summed


def loss(
    estimate: Tensor, target: Tensor, _mix: Tensor, config: BSMamba2LightLossConfig
) -> tuple[Tensor, Terms]:
    """L1 on waveforms, weighted, plus L1 on magnitude spectrograms, summed over windows."""
    weights = stem_weights(estimate, config)
    estimate, target = weighted(estimate, weights), weighted(target, weights)
    distances = []
    for window in config.multi_stft_window_sizes:
        wanted = spectrum(target, window, config).abs()
        distances.append((spectrum(estimate, window, config).abs() - wanted).abs().mean())
    return summed((estimate - target).abs().mean(), distances, config.l1_time_weight)
