"""Training losses, by name. Each is a function of estimate and target stems, in float32.

A loss takes ``estimate`` and ``target``, both ``(B, S, C, N)``, the mixture ``(B, C, N)`` and its
part of the configuration; it returns the value to minimise and its terms by name for the log, all
as scalar tensors. A new loss is one function, one line in `LOSSES` and one section in the schema.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from mssctl.config.schema import (
    BSMamba2LightLossConfig,
    BSMamba2LossConfig,
    CombinedLossConfig,
    LossConfig,
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
    already perfect stem, or a hopeless one, pulls no harder than the others. It is averaged over
    the active targets. A silent target (more than 40 dB below the mixture) has no SI-SDR; for
    it the energy of the estimate relative to the mixture, in dB and bounded to -30 dB, is to be
    small, with a tenth of the weight and divided by *all* targets, so that one silent stem among
    many does not dominate. L1 and spectral terms cover all targets.

    Terms for the log, so that loss = w_si_sdr (silence - si_sdr) + w_l1 l1 + w_spectral spectral:
    ``si_sdr`` in dB, higher is better; ``silence`` is what the silent targets add to it.
    """
    scale = 1.0 / mix.square().mean((-2, -1)).sqrt().clamp(min=QUIETEST)  # (B,)
    scale = scale[:, None, None, None]
    estimate, target = estimate * scale, target * scale
    si_sdr, silence = si_sdr_and_silence(estimate, target)
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


def si_sdr_and_silence(estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Mean bounded SI-SDR of the active targets, and the penalty for sound in the silent ones.

    SI-SDR = 10 log10 of P / E, with P the energy of the estimate's projection on the target
    and E that of the rest (Le Roux et al., arXiv:1811.02508), bounded as
    (P + tE) / (E + tP). A 10,000th of the target's energy is added to E, so that an estimate
    40 dB too quiet counts as missing and the gradient is finite everywhere: at a zero estimate,
    at a perfect one, and at a zero target. The mixture has unit power here.

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
    si_sdr = (active * 10.0 * ratio.log10()).sum() / active.sum().clamp(min=1.0)
    leak = 10.0 * (energy + SI_SDR_LIMIT).log10()  # the mixture has power 1
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
    error = estimate - target  # the transform of the difference is the difference
    distances = [_spectrum(error, w, config).abs().mean() for w in config.multi_stft_window_sizes]
    return _weighted(error.abs().mean(), distances, config.l1_time_weight)


def bsmamba2_light(
    estimate: Tensor, target: Tensor, _mix: Tensor, config: BSMamba2LightLossConfig
) -> tuple[Tensor, Terms]:
    """As `bsmamba2`, with the distance of magnitudes in place of complex values."""
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


LOSSES: dict[str, Loss] = {
    "combined": combined,
    "bsmamba2": bsmamba2,
    "bsmamba2_light": bsmamba2_light,
}
