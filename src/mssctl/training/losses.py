"""Training losses, by name. Each is a function of estimate and target stems, in float32.

A loss takes ``estimate`` and ``target``, both ``(B, S, C, N)``, the mixture ``(B, C, N)`` and its
part of the configuration; it returns the value to minimise and its terms by name for the log, all
as scalar tensors. The loss of a batch is the mean of the losses of its examples, so that the same
examples give the same step in one batch, accumulated in parts, or on several machines.

A new loss is one function, one line in `LOSSES` and one section in the schema.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from mssctl.config.losses import (
    BSMamba2LightLossConfig,
    BSMamba2LossConfig,
    CombinedLossConfig,
    L1LossConfig,
    LossConfig,
    MultiResolutionSTFTLossConfig,
    SNRLossConfig,
)
from mssctl.hardware.device import full_precision

Terms = dict[str, Tensor]
Loss = Callable[[Tensor, Tensor, Tensor, Any], tuple[Tensor, Terms]]

SI_SDR_LIMIT = 1e-3  # soft bounds of SI-SDR: -30 dB and +30 dB
ACTIVE = 1e-4  # a target more than 40 dB below the mixture's power counts as silent
TOO_QUIET = 1e-4  # an estimate this far below its target's power counts as missing
SILENT_WEIGHT = 0.1  # what a silent target counts against an active one
QUIETEST = 1e-4  # RMS of the quietest mixture that is scaled up to 1: -80 dBFS


def compute_loss(
    estimate: Tensor, target: Tensor, config: LossConfig, mix: Tensor | None = None
) -> tuple[Tensor, Terms]:
    """The loss that ``config.name`` names, in float32 also inside an autocast region.

    ``mix`` is the mixture; None where the targets add up to it.
    """
    with full_precision(estimate.device):
        target = target.float()
        mix = target.sum(1) if mix is None else mix.float()
        return LOSSES[config.name](estimate.float(), target, mix, config)


def combined(
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
    estimate, target = _levelled(estimate, target, mix)
    weights = stem_weights(estimate, config)
    si_sdr, silence = si_sdr_and_silence(estimate, target, weights)
    estimate, target = _weighed(estimate, weights), _weighed(target, weights)
    terms = {"si_sdr": si_sdr, "silence": silence, "l1": (estimate - target).abs().mean()}
    terms["spectral"] = torch.stack(
        [spectral_l1(estimate, target, n_fft) for n_fft in config.spectral_n_fft]
    ).mean()
    loss = (
        config.si_sdr * (terms["silence"] - terms["si_sdr"])
        + config.l1 * terms["l1"]
        + config.spectral * terms["spectral"]
    )
    return loss, {name: term.detach() for name, term in terms.items()}


def stem_weights(estimate: Tensor, config: LossConfig) -> Tensor | None:
    """``loss.stem_weights`` as ``(S,)``; None where all stems weigh the same."""
    if not config.stem_weights:
        return None
    return estimate.new_tensor(config.stem_weights)


def _weighed(signal: Tensor, weights: Tensor | None) -> Tensor:
    """Each stem of ``(B, S, C, N)`` times its weight: so a distance of two signals is weighted."""
    return signal if weights is None else signal * weights[:, None, None]


def _levelled(estimate: Tensor, target: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
    """Both signals divided by the RMS of their mixture."""
    scale = 1.0 / mix.square().mean((-2, -1)).sqrt().clamp(min=QUIETEST)  # (B,)
    scale = scale[:, None, None, None]
    return estimate * scale, target * scale


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

    The window is scaled to unit energy: white noise of RMS 1 has magnitudes about 1 at any
    ``n_fft``, so the resolutions weigh the same. Before and after the signal is silence.

    Args:
        estimate: ``(..., N)``.
        target: ``(..., N)``; gets no gradient.
        n_fft: a multiple of 4.
    """
    signals = estimate.flatten(0, -2), target.flatten(0, -2)
    loss: Tensor = _SpectralL1.apply(*signals, n_fft)  # type: ignore[no-untyped-call]
    return loss


class _SpectralL1(torch.autograd.Function):
    """`spectral_l1` of ``(R, N)`` signals with its gradient written out.

    Half the time of what autograd makes of it on a CPU, and it keeps one spectrogram instead of
    four. The gradient with respect to a frame is the inverse transform of that with respect to
    its bins, where the bins that have a mirror image count half each.
    """

    @staticmethod
    def forward(ctx: Any, estimate: Tensor, target: Tensor, n_fft: int) -> Tensor:
        window = torch.hann_window(n_fft, dtype=estimate.dtype, device=estimate.device)
        window /= window.square().sum().sqrt()
        spec = _stft(estimate, window)  # (R, F, T)
        magnitude = spec.abs()
        difference = magnitude - _stft(target, window).abs()
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


def _stft(x: Tensor, window: Tensor) -> Tensor:
    """``(R, N)`` -> ``(R, F, T)`` complex."""
    return torch.stft(
        x,
        len(window),
        hop_length=len(window) // 4,
        window=window,
        pad_mode="constant",
        return_complex=True,
    )


def bsmamba2(
    estimate: Tensor, target: Tensor, _mix: Tensor, config: BSMamba2LossConfig
) -> tuple[Tensor, Terms]:
    """L1 on waveforms, weighted, plus L1 on complex spectrograms, summed over windows.

    The distance of two complex values is the modulus of their difference. Source: BSMamba2
    (arXiv:2508.14556).
    """
    # The transform of the difference is the difference.
    error = _weighed(estimate - target, stem_weights(estimate, config))
    distances = [_spectrum(error, w, config).abs().mean() for w in config.multi_stft_window_sizes]
    return _weighted(error.abs().mean(), distances, config.l1_time_weight)


def bsmamba2_light(
    estimate: Tensor, target: Tensor, _mix: Tensor, config: BSMamba2LightLossConfig
) -> tuple[Tensor, Terms]:
    """As `bsmamba2`, with the distance of magnitudes in place of complex values."""
    weights = stem_weights(estimate, config)
    estimate, target = _weighed(estimate, weights), _weighed(target, weights)
    distances = []
    for window in config.multi_stft_window_sizes:
        wanted = _spectrum(target, window, config).abs()
        distances.append((_spectrum(estimate, window, config).abs() - wanted).abs().mean())
    return _weighted((estimate - target).abs().mean(), distances, config.l1_time_weight)


def _weighted(l1: Tensor, distances: list[Tensor], l1_weight: float) -> tuple[Tensor, Terms]:
    spectral = torch.stack(distances).sum()
    return l1_weight * l1 + spectral, {"l1": l1.detach(), "spectral": spectral.detach()}


def _spectrum(
    x: Tensor, window: int, config: BSMamba2LossConfig | BSMamba2LightLossConfig
) -> Tensor:
    """``(B, S, C, N)`` -> ``(B * S * C, F, T)`` complex: centred, reflect padding."""
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


def l1(
    estimate: Tensor, target: Tensor, _mix: Tensor, config: L1LossConfig
) -> tuple[Tensor, Terms]:
    """Mean absolute difference of the waveforms, as in Demucs (arXiv:1911.13254)."""
    loss = _weighed(estimate - target, stem_weights(estimate, config)).abs().mean()
    return loss, {"l1": loss.detach()}


def multi_resolution_stft(
    estimate: Tensor, target: Tensor, mix: Tensor, config: MultiResolutionSTFTLossConfig
) -> tuple[Tensor, Terms]:
    """Spectral convergence plus log-magnitude L1, means over windows, plus L1 on waveforms.

    Convergence is ``|| |S| - |E| || / || |S| ||`` per example and stem (Frobenius norms over
    channels, bins and frames), log-magnitude the mean of ``|ln |S| - ln |E||``. Source: Yamamoto et
    al., "Parallel WaveGAN" (arXiv:1910.11480). Transforms as in `spectral_l1`, signals divided by
    the RMS of their mixture.

    Both terms are undefined for silence, so magnitudes below -40 dB of white noise as loud as
    the mixture count as -40 dB: a silent target then asks for silence and no more.
    """
    estimate, target = _levelled(estimate, target, mix)
    weights = stem_weights(estimate, config)
    convergence, logarithmic = [], []
    for n_fft in config.spectral_n_fft:
        window = torch.hann_window(n_fft, dtype=estimate.dtype, device=estimate.device)
        window = window / window.square().sum().sqrt()
        wanted, given = (
            _stft(signal.flatten(0, 2), window).abs().unflatten(0, signal.shape[:3])
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
    loss = (
        config.convergence * terms["convergence"]
        + config.log_magnitude * terms["log_magnitude"]
        + config.l1 * terms["l1"]
    )
    return loss, {name: term.detach() for name, term in terms.items()}


def snr(
    estimate: Tensor, target: Tensor, mix: Tensor, config: SNRLossConfig
) -> tuple[Tensor, Terms]:
    """Negative thresholded SNR; for a silent target the level of its estimate, below the mixture.

    ``10 log10((|s - e|^2 + t |s|^2) / |s|^2)`` with ``t = 10^(-snr_max / 10)``, and for a target
    more than 40 dB below the mixture ``x``: ``10 log10((|e|^2 + t |x|^2) / |x|^2)`` times
    ``zero_ref_weight``. Mean over examples and stems, channels jointly. Source: Wisdom et al.,
    "What's all the FUSS about free universal sound separation data?" (arXiv:2011.00803).
    """
    estimate, target = _levelled(estimate, target, mix)
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
    loss = terms["silence"] - terms["snr"]
    return loss, {name: term.detach() for name, term in terms.items()}


LOSSES: dict[str, Loss] = {
    "combined": combined,
    "bsmamba2": bsmamba2,
    "bsmamba2_light": bsmamba2_light,
    "l1": l1,
    "multi_resolution_stft": multi_resolution_stft,
    "snr": snr,
}
