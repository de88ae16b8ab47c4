"""Negative thresholded signal-to-noise ratio."""

from torch import Tensor

from mssctl.config.losses import SNRLossConfig
from mssctl.training.losses import ACTIVE, Terms, leveled, stem_weights


def loss(
    estimate: Tensor, target: Tensor, mix: Tensor, config: SNRLossConfig
) -> tuple[Tensor, Terms]:
    """Negative thresholded SNR; for a silent target the level of its estimate, below the mixture.

    ``10 log10((|s - e|^2 + t |s|^2) / |s|^2)`` with ``t = 10^(-snr_max / 10)``, and for a target
    more than 40 dB below the mixture ``x``: ``10 log10((|e|^2 + t |x|^2) / |x|^2)`` times
    ``zero_ref_weight``. Mean over examples and stems, channels jointly. Source: Wisdom et al.,
    "What's all the FUSS about free universal sound separation data?" (arXiv:2011.00803).
    """
    estimate, target = leveled(estimate, target, mix)
    threshold = 10.0 ** (-config.snr_max / 10.0)
    power = target.square().mean((-2, -1))  # (B, S); the mixture has power 1
    active = (power > ACTIVE).to(power.dtype)
    power = power.clamp(min=ACTIVE)
    error = (estimate - target).square().mean((-2, -1))
    noise = 10.0 * ((error + threshold * power) / power).log10()
    leak = 10.0 * (estimate.square().mean((-2, -1)) + threshold).log10()
    weights = stem_weights(estimate, config)
    if weights is not None:
        noise, leak = noise * weights, leak * weights
    terms = {
        "snr": -(active * noise).mean(),
        "silence": config.zero_ref_weight * ((1.0 - active) * leak).mean(),
    }
    return terms["silence"] - terms["snr"], terms
