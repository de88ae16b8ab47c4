"""The combined loss: what it rewards, and that silence neither breaks nor rules it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mssctl.config.losses import (
    BSMamba2LightLossConfig,
    BSMamba2LossConfig,
    CombinedLossConfig,
    L1LossConfig,
    MultiResolutionSTFTLossConfig,
    SNRLossConfig,
)
from mssctl.models.run_config import forms_of
from mssctl.training import losses
from mssctl.training.losses import bsmamba2, compute_loss
from mssctl.training.losses.combined import si_sdr_and_silence, spectral_l1

CONFIG = CombinedLossConfig(spectral_n_fft=(256, 64))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradient(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    estimate = estimate.clone().requires_grad_()
    loss, _ = compute_loss(estimate, target, CONFIG)
    assert torch.isfinite(loss)
    (grad,) = torch.autograd.grad(loss, estimate)
    return grad


@pytest.mark.parametrize("estimate", ["zero", "perfect", "noise", "loud"])
@pytest.mark.parametrize("target", ["sound", "one silent", "all silent"])
def test_loss_and_gradient_are_finite_everywhere(estimate, target):
    targets = 0.1 * noise(2, 3, 2, 1000)
    targets = {"sound": targets, "all silent": 0 * targets}.get(target, targets)
    if target == "one silent":
        targets[:, 1] = 0
    estimates = {
        "zero": 0 * targets,
        "perfect": targets,
        "noise": noise(2, 3, 2, 1000, seed=1),
        "loud": 1e4 * noise(2, 3, 2, 1000, seed=1),
    }[estimate]
    assert torch.isfinite(gradient(estimates, targets)).all()


def test_a_better_estimate_has_a_lower_loss():
    target, error = noise(2, 2, 2, 1000), noise(2, 2, 2, 1000, seed=1)
    losses = [compute_loss(target + size * error, target, CONFIG)[0] for size in (0, 0.1, 1, 10)]
    assert losses == sorted(losses)


def test_the_loss_does_not_depend_on_the_level_of_the_song():
    target, error = noise(2, 2, 2, 1000), noise(2, 2, 2, 1000, seed=1)
    loud, _ = compute_loss(target + error, target, CONFIG)
    quiet, _ = compute_loss(0.01 * (target + error), 0.01 * target, CONFIG)
    torch.testing.assert_close(loud, quiet)


def test_si_sdr_is_that_of_the_definition_and_bounded():
    target = noise(1, 1, 2, 50_000)
    error = noise(1, 1, 2, 50_000, seed=1)
    error -= (error * target).sum() / target.square().sum() * target
    for decibels in (-10.0, 0.0, 10.0):
        scaled = error * (target.norm() / error.norm()) * 10 ** (-decibels / 20)
        si_sdr, _ = si_sdr_and_silence(3 * (target + scaled), target)
        assert si_sdr.item() == pytest.approx(decibels, abs=0.1)
    perfect, _ = si_sdr_and_silence(target, target)
    hopeless, _ = si_sdr_and_silence(error, target)
    assert 29 < perfect.item() <= 30
    assert -30 <= hopeless.item() < -29
    assert si_sdr_and_silence(0 * target, target)[0].item() == pytest.approx(-30)


def test_a_silent_target_has_no_si_sdr_and_adds_nothing_to_the_mean():
    target, estimate = noise(2, 2, 1, 1000), noise(2, 2, 1, 1000, seed=1)
    target[0, 1] = 0
    whole, _ = si_sdr_and_silence(estimate, target)
    single = [
        si_sdr_and_silence(estimate[b : b + 1, s : s + 1], target[b : b + 1, s : s + 1])[0]
        for b, s in ((0, 0), (1, 0), (1, 1))
    ]
    torch.testing.assert_close(whole, torch.stack(single).sum() / 4)


def test_sound_in_a_silent_stem_is_punished_but_does_not_dominate():
    target = noise(1, 4, 2, 1000)
    target[:, 3] = 0
    estimate = target + 0.3 * noise(1, 4, 2, 1000, seed=1)
    grad = gradient(estimate, target)[0]
    silent, active = grad[3], grad[:3]
    assert (silent * estimate[0, 3]).sum() > 0  # descent makes it quieter
    assert silent.norm() < active.flatten(1).norm(dim=1).max()


def test_spectral_resolutions_weigh_the_same_on_noise():
    estimate = noise(1, 1, 1, 50_000)
    values = [spectral_l1(estimate, 0 * estimate, n_fft).item() for n_fft in (256, 1024, 4096)]
    assert max(values) < 1.1 * min(values)
    assert 0.8 < values[0] < 1.0


@pytest.mark.parametrize("length", [1, 7, 8, 33, 100])
def test_the_spectral_gradient_is_that_of_autograd(length):
    estimate = noise(3, length).double().requires_grad_()
    target = noise(3, length, seed=1).double()

    def magnitudes(x):
        window = torch.hann_window(16, dtype=x.dtype)
        window = window / window.square().sum().sqrt()
        return torch.stft(x, 16, 4, 16, window, pad_mode="constant", return_complex=True).abs()

    plain = (magnitudes(estimate) - magnitudes(target)).abs().mean()
    written = spectral_l1(estimate, target, 16)
    torch.testing.assert_close(written, plain)
    (expected,) = torch.autograd.grad(plain, estimate)
    (found,) = torch.autograd.grad(3 * written, estimate)
    torch.testing.assert_close(found, 3 * expected)


@pytest.mark.parametrize("length", [1, 63, 1000])
def test_any_length_will_do(length):
    target = noise(1, 2, 2, length)
    assert torch.isfinite(compute_loss(0.5 * target, target, CONFIG)[0])


@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.5, 0.1, 0.2)])
def test_the_loss_is_the_weighted_sum_of_its_terms(weights):
    config = CombinedLossConfig(si_sdr=weights[0], l1=weights[1], spectral=weights[2])
    target = noise(2, 2, 2, 4000)
    target[0, 1] = 0
    loss, terms = compute_loss(target + noise(2, 2, 2, 4000, seed=1), target, config)
    expected = (
        weights[0] * (terms["silence"] - terms["si_sdr"])
        + weights[1] * terms["l1"]
        + weights[2] * terms["spectral"]
    )
    torch.testing.assert_close(loss, expected)


def test_the_windows_of_the_configuration_are_used():
    target, estimate = noise(1, 1, 1, 4000), noise(1, 1, 1, 4000, seed=1).cumsum(-1)
    one, two = (
        compute_loss(estimate, target, CombinedLossConfig(spectral_n_fft=(n_fft,)))[1]["spectral"]
        for n_fft in (64, 2048)
    )
    assert abs(one - two) > 1e-3


def test_autocast_does_not_reach_the_loss():
    target, estimate = noise(1, 2, 2, 1000), noise(1, 2, 2, 1000, seed=1)
    outside, _ = compute_loss(estimate, target, CONFIG)
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = compute_loss(estimate, target, CONFIG)
    assert torch.equal(outside, inside)


def test_every_loss_of_the_schema_is_there():
    files = {path.stem for path in Path(losses.__file__).parent.glob("*.py")}
    assert files - {"__init__"} == set(forms_of("loss"))


def test_the_terms_for_the_log_keep_no_graph():
    target = noise(1, 2, 2, 4096)
    estimate = noise(1, 2, 2, 4096, seed=1).requires_grad_()
    for form in forms_of("loss").values():
        loss, terms = compute_loss(estimate, target, form())
        assert loss.requires_grad
        assert not any(term.requires_grad for term in terms.values())


def test_a_quiet_target_is_measured_against_its_mixture():
    target = noise(1, 1, 2, 4000)
    mix = 1000 * noise(1, 2, 4000, seed=1)
    _, terms_alone = compute_loss(0.5 * target, target, CONFIG)
    _, terms = compute_loss(0.5 * target, target, CONFIG, mix)
    assert (terms_alone["silence"], terms["si_sdr"]) == (0, 0)
    assert terms["silence"] < 0  # too quiet beside the mixture: counts as silent
    assert terms["l1"] < terms_alone["l1"] / 100


def spectrogram(x: torch.Tensor, window: int) -> torch.Tensor:
    return torch.stft(
        x.flatten(0, -2),
        max(window, 2048),
        hop_length=147,
        win_length=window,
        window=torch.hann_window(window),
        return_complex=True,
    )


def test_the_bsmamba2_loss_is_ten_l1_and_the_sum_of_complex_distances():
    target, estimate = noise(2, 1, 2, 5000), noise(2, 1, 2, 5000, seed=1)
    loss, _ = compute_loss(estimate, target, BSMamba2LossConfig())
    wanted = 10 * (estimate - target).abs().mean()
    for window in (4096, 2048, 1024, 512, 256):
        difference = spectrogram(estimate, window) - spectrogram(target, window)
        wanted += difference.abs().mean()
    torch.testing.assert_close(loss, wanted)


def test_the_light_loss_is_that_of_magnitudes():
    target, estimate = noise(2, 1, 2, 5000), noise(2, 1, 2, 5000, seed=1)
    loss, _ = compute_loss(estimate, target, BSMamba2LightLossConfig())
    wanted = 10 * (estimate - target).abs().mean()
    for window in (2048, 1024, 512):
        magnitudes = spectrogram(estimate, window).abs() - spectrogram(target, window).abs()
        wanted += magnitudes.abs().mean()
    torch.testing.assert_close(loss, wanted)
    assert compute_loss(-target, target, BSMamba2LightLossConfig())[1]["spectral"] < 1e-5


@pytest.mark.parametrize("config", [BSMamba2LossConfig(), BSMamba2LightLossConfig()])
def test_channels_are_compared_one_by_one(config):
    target = noise(1, 1, 2, 3000)
    loss, terms = compute_loss(target.flip(2), target, config)
    assert terms["spectral"] > 1
    assert loss > terms["spectral"]


def test_a_window_is_made_once_per_length_and_dtype():
    bsmamba2._kept_window.cache_clear()
    target, estimate = noise(1, 1, 2, 3000), noise(1, 1, 2, 3000, seed=1)
    for _ in range(3):
        compute_loss(estimate, target, BSMamba2LossConfig())
    assert bsmamba2._kept_window.cache_info().misses == 5


def test_fake_tensors_leave_no_window_behind():
    bsmamba2._kept_window.cache_clear()
    with FakeTensorMode():
        fake = torch.zeros(1, 1, 2, 3000)
        compute_loss(fake, fake, BSMamba2LossConfig())
    assert bsmamba2._kept_window.cache_info().currsize == 0


# --- the named options beside the defaults, against formulas in float64


def double(signal: torch.Tensor) -> np.ndarray:
    return signal.numpy().astype(np.float64)


def magnitudes(signal: torch.Tensor, n_fft: int) -> np.ndarray:
    """``(B, S, C, F, T)`` in float64, frames cut by hand; windows of unit energy."""
    x = double(signal)
    padded = np.pad(x, [(0, 0)] * 3 + [(n_fft // 2, n_fft // 2)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    window /= np.sqrt((window**2).sum())
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=-1)[..., :: n_fft // 4, :]
    return np.abs(np.fft.rfft(frames * window, axis=-1)).swapaxes(-1, -2)


def unit(estimate: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    level = target.sum(1).square().mean((1, 2), keepdim=True).sqrt()[:, None]
    return estimate / level, target / level


def test_l1_is_the_mean_absolute_difference():
    target, estimate = noise(2, 3, 2, 1000), noise(2, 3, 2, 1000, seed=1)
    loss, _ = compute_loss(estimate, target, L1LossConfig())
    assert loss.item() == pytest.approx(np.abs(double(estimate) - double(target)).mean(), rel=1e-6)


def test_snr_is_that_of_the_formula_with_its_threshold():
    target, estimate = noise(2, 3, 2, 1000), noise(2, 3, 2, 1000, seed=1)
    target[1, 2] = 0
    loss, _ = compute_loss(estimate, target, SNRLossConfig(snr_max=20, zero_ref_weight=0.3))
    given, wanted = map(double, unit(estimate, target))
    power = (wanted**2).mean((2, 3))
    error = ((given - wanted) ** 2).mean((2, 3))
    with np.errstate(divide="ignore", invalid="ignore"):
        active = 10 * np.log10((error + 0.01 * power) / power)
    silent = 0.3 * 10 * np.log10((given**2).mean((2, 3)) + 0.01)
    assert loss.item() == pytest.approx(np.where(power > 0, active, silent).mean(), rel=1e-5)
    perfect, _ = compute_loss(target[:1], target[:1], SNRLossConfig(snr_max=20))
    assert perfect.item() == pytest.approx(-20, abs=1e-3)


def test_the_multi_resolution_loss_is_that_of_the_formula():
    target, estimate = noise(2, 2, 2, 1024), noise(2, 2, 2, 1024, seed=1)
    config = MultiResolutionSTFTLossConfig(
        spectral_n_fft=(256, 64), convergence=2, log_magnitude=0.5, l1=3
    )
    loss, _ = compute_loss(estimate, target, config)
    given, wanted = unit(estimate, target)
    convergence, logs = [], []
    for n_fft in (256, 64):
        a, b = magnitudes(given, n_fft), magnitudes(wanted, n_fft)
        axes = (2, 3, 4)
        convergence.append((np.sqrt(((a - b) ** 2).sum(axes) / (b**2).sum(axes))).mean())
        logs.append(np.abs(np.log(np.maximum(a, 0.01)) - np.log(np.maximum(b, 0.01))).mean())
    l1 = np.abs(double(given) - double(wanted)).mean()
    assert loss.item() == pytest.approx(
        2 * np.mean(convergence) + 0.5 * np.mean(logs) + 3 * l1, rel=1e-5
    )


ALL = [form(stem_weights=()) for form in forms_of("loss").values()]


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.name)
@pytest.mark.parametrize("target", ["sound", "one silent", "all silent"])
@pytest.mark.parametrize("estimate", ["zero", "perfect", "noise"])
def test_no_loss_and_no_gradient_is_ever_nan(config, target, estimate):
    targets = 0.1 * noise(1, 2, 2, 4096)
    if target != "sound":
        targets[:, 1 if target == "one silent" else slice(None)] = 0
    given = {"zero": 0 * targets, "perfect": targets, "noise": noise(1, 2, 2, 4096, seed=1)}
    guess = given[estimate].clone().requires_grad_()
    loss, _ = compute_loss(guess, targets, config)
    (grad,) = torch.autograd.grad(loss, guess)
    assert torch.isfinite(loss)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.name)
@pytest.mark.parametrize("silent", [False, True])
def test_the_weight_of_a_stem_multiplies_its_part(config, silent):
    target, estimate = noise(1, 2, 2, 4096), noise(1, 2, 2, 4096, seed=1)
    if silent:
        target[:, 1] = 0

    def loss(*weights: float) -> torch.Tensor:
        weighted = config.model_copy(update={"stem_weights": weights})
        return compute_loss(estimate, target, weighted)[0]

    plain = compute_loss(estimate, target, config)[0]
    torch.testing.assert_close(loss(1, 1), plain)
    torch.testing.assert_close(loss(1, 0) + loss(0, 1), plain)
    torch.testing.assert_close(loss(3, 0.5), 3 * loss(1, 0) + 0.5 * loss(0, 1))
    assert loss(1, 0) != loss(0, 1)


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.name)
def test_the_loss_of_a_batch_is_the_mean_of_the_losses_of_its_examples(config):
    target, estimate = noise(3, 4, 2, 5000), noise(3, 4, 2, 5000, seed=1)
    target[0, 1] = target[0, 2] = target[2, 1] = 0
    whole, terms = compute_loss(estimate, target, config)
    parts = [compute_loss(estimate[[b]], target[[b]], config) for b in range(3)]
    torch.testing.assert_close(whole, torch.stack([loss for loss, _ in parts]).mean())
    for name, term in terms.items():
        torch.testing.assert_close(term, torch.stack([part[name] for _, part in parts]).mean())
