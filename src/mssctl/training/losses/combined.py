"""SI-SDR plus L1 on waveforms plus L1 on magnitude spectrograms."""

from typing import Any

import torch
from torch import Tensor

from mssctl.config.losses import CombinedLossConfig
from mssctl.training.losses import (
    ACTIVE,
    Terms,
    leveled,
    stem_weights,
    stft,
    unit_hann,
    weighted,
)

SI_SDR_LIMIT = 1e-3  # soft bounds of SI-SDR: -30 dB and +30 dB
TOO_QUIET = 1e-4  # an estimate this far below its target's power counts as missing
SILENT_WEIGHT = 0.1  # what a silent target counts against an active one


def loss(
    estimate: Tensor, target: Tensor, mix: Tensor, config: CombinedLossConfig
) -> tuple[Tensor, Terms]:
    """Negative SI-SDR plus L1 on waveforms plus L1 on magnitude spectrograms, each weighted.

    Both signals are first divided by the RMS of the example's mixture, so that the terms weigh the
    same in quiet and in loud songs.

    SI-SDR is taken per example and stem, channels jointly, and bounded softly to +-30 dB: an
    already perfect stem, or a hopeless one, pulls no harder than the others. A silent target (more
    than 40 dB below the mixture) has no SI-SDR, and counts as 0 dB; for it the energy of the
    estimate relative to the mixture, in dB and bounded to -30 dB, is to be small, with a tenth of
    the weight. Both are divided by the number of all targets. L1 and spectral terms cover all
    targets.

    Terms for the log, so that loss = w_si_sdr (silence - si_sdr) + w_l1 l1 + w_spectral spectral:
    ``si_sdr`` in dB, higher is better; ``silence`` is what the silent targets add to it.
    """
    estimate, target = leveled(estimate, target, mix)
    weights = stem_weights(estimate, config)
    si_sdr, silence = si_sdr_and_silence(estimate, target, weights)
    estimate, target = weighted(estimate, weights), weighted(target, weights)
    l1 = (estimate - target).abs().mean()
    distances = [spectral_l1(estimate, target, n_fft) for n_fft in config.spectral_n_fft]
    spectral = torch.stack(distances).mean()
    total = config.si_sdr * (silence - si_sdr) + config.l1 * l1 + config.spectral * spectral
    return total, {"si_sdr": si_sdr, "silence": silence, "l1": l1, "spectral": spectral}


def si_sdr_and_silence(
    estimate: Tensor, target: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Bounded SI-SDR of the active targets, and the penalty for sound in the silent ones.

    Each is a mean over all targets, to which the others add nothing.

    SI-SDR = 10 log10 of P / E, with P the energy of the estimate's projection on the target
    and E that of the rest (Le Roux et al., arXiv:1811.02508), bounded as
    (P + tE) / (E + tP). A 10,000th of the target's energy is added to E, so that an estimate
    40 dB too quiet counts as missing and the gradient is finite everywhere: at a zero estimate,
    at a perfect one, and at a zero target. The mixture has unit power here. ``weights`` ``(S,)``
    multiply each stem's part.

    Shape:
        ``(B, S, C, N)`` twice -> two scalars, dB.
    """
    power = target.square().mean((-2, -1))  # (B, S)
    active = (power > ACTIVE).float()
    power = power.clamp(min=ACTIVE)
    energy = estimate.square().mean((-2, -1))
    hit = (estimate * target).mean((-2, -1)).square() / power
    miss = (energy - hit).clamp(min=0.0) + TOO_QUIET * power
    ratio = (hit + SI_SDR_LIMIT * miss) / (miss + SI_SDR_LIMIT * hit)
    ratio_db = 10.0 * ratio.log10()
    leak = 10.0 * (energy + SI_SDR_LIMIT).log10()  # the mixture has power 1
    if weights is not None:
        ratio_db, leak = ratio_db * weights, leak * weights
    si_sdr = (active * ratio_db).mean()
    silence = SILENT_WEIGHT * ((1.0 - active) * leak).mean()
    return si_sdr, silence


def spectral_l1(estimate: Tensor, target: Tensor, n_fft: int) -> Tensor:
    """Mean absolute difference of magnitude spectrograms, hop ``n_fft // 4``, periodic Hann.

    The window has unit energy. Before and after the signal is silence.

    Args:
        estimate: ``(..., N)``.
        target: ``(..., N)``; gets no gradient.
        n_fft: a multiple of 4.
    """
    signals = estimate.flatten(0, -2), target.flatten(0, -2)
    return _SpectralL1.apply(*signals, n_fft)  # type: ignore[no-any-return, no-untyped-call]


class _SpectralL1(torch.autograd.Function):
    """`spectral_l1` of ``(R, N)`` signals with its gradient written out.

    Half the time of what autograd makes of it on a CPU, and it keeps one spectrogram instead of
    four. The gradient with respect to a frame is the inverse transform of that with respect to
    its bins, where the bins that have a mirror image count half each.
    """

    @staticmethod
    def forward(ctx: Any, estimate: Tensor, target: Tensor, n_fft: int) -> Tensor:
        window = unit_hann(n_fft, estimate)
        spec = stft(estimate, window)  # (R, F, T)
        magnitude = spec.abs()
        difference = magnitude - stft(target, window).abs()
        slope = difference.sign().div_(magnitude.clamp_(min=1e-12)).div_(difference.numel())
        slope[:, 1 : n_fft // 2] *= 0.5
        ctx.samples = estimate.shape[-1]
        ctx.save_for_backward(spec.mul_(slope), window)
        return difference.abs_().mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        slope, window = ctx.saved_tensors
        hop = len(window) // 4
        frames = torch.fft.irfft(slope.transpose(1, 2), len(window), norm="forward") * window
        rows, count, _ = frames.shape
        padded = frames.new_zeros(rows, count + 3, hop)
        for quarter in range(4):
            padded[:, quarter : quarter + count] += frames[..., quarter * hop : (quarter + 1) * hop]
        signal = padded.flatten(1)[:, 2 * hop : 2 * hop + ctx.samples]
        return signal * grad, None, None
