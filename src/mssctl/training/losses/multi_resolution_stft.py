"""Spectral convergence plus log-magnitude L1 at several windows, plus L1 on waveforms."""

import torch
from torch import Tensor

from mssctl.config.losses import MultiResolutionSTFTLossConfig
from mssctl.training.losses import ACTIVE, Terms, leveled, stem_weights, stft, unit_hann


def loss(
    estimate: Tensor, target: Tensor, mix: Tensor, config: MultiResolutionSTFTLossConfig
) -> tuple[Tensor, Terms]:
    """Spectral convergence plus log-magnitude L1, means over windows, plus L1 on waveforms.

    Convergence is ``|| |S| - |E| || / || |S| ||`` per example and stem (Frobenius norms over
    channels, bins and frames), log-magnitude the mean of ``|ln |S| - ln |E||``. Source: Yamamoto et
    al., "Parallel WaveGAN" (arXiv:1910.11480). Transforms and levels are those of ``combined``.

    Both terms are undefined for silence, so magnitudes below -40 dB of white noise as loud as
    the mixture count as -40 dB: a silent target then asks for silence and no more.
    """
    estimate, target = leveled(estimate, target, mix)
    weights = stem_weights(estimate, config)
    convergence, logarithmic = [], []
    for n_fft in config.spectral_n_fft:
        window = unit_hann(n_fft, estimate)
        wanted, given = (
            stft(signal.flatten(0, 2), window).abs().unflatten(0, signal.shape[:3])
            for signal in (target, estimate)
        )  # (B, S, C, F, T)
        # A norm has no gradient at 0; the tiny sum keeps that of a perfect estimate finite.
        error = ((given - wanted).square().mean((2, 3, 4)) + 1e-12).sqrt()
        level = wanted.square().mean((2, 3, 4)).clamp(min=ACTIVE).sqrt()
        convergence.append(error / level)
        floor = ACTIVE**0.5
        logs = given.clamp(min=floor).log() - wanted.clamp(min=floor).log()
        logarithmic.append(logs.abs().mean((2, 3, 4)))
    parts = {
        "convergence": torch.stack(convergence).mean(0),  # (B, S)
        "log_magnitude": torch.stack(logarithmic).mean(0),
        "l1": (estimate - target).abs().mean((2, 3)),
    }
    terms = {
        name: (part if weights is None else part * weights).mean() for name, part in parts.items()
    }
    total = (
        config.convergence * terms["convergence"]
        + config.log_magnitude * terms["log_magnitude"]
        + config.l1 * terms["l1"]
    )
    return total, terms
