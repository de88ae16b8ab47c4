"""Laws and known values of uSDR and SI-SDR."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mssctl.evaluation.metrics.sdr import (
    SI_SDR_LIMIT,
    SILENCE,
    is_silent,
    sdr,
    si_sdr,
)


def noise(seed: int = 0, channels: int = 2, samples: int = 4_000) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((channels, samples))


def orthogonal_noise(signal: np.ndarray, level_db: float) -> np.ndarray:
    """Noise with no part of ``signal`` in it, ``level_db`` relative to its energy."""
    other = noise(99, *signal.shape)
    other -= signal * np.vdot(other, signal) / np.vdot(signal, signal)
    gain = math.sqrt(np.vdot(signal, signal) / np.vdot(other, other)) * 10 ** (level_db / 20)
    return other * gain


@pytest.mark.parametrize("level_db", [-60.0, -20.0, -3.0, 0.0, 12.0])
def test_noise_of_a_known_level_gives_that_level(level_db):
    s = noise()
    estimate = s + orthogonal_noise(s, level_db)
    energy = float(np.vdot(s, s))
    expected = 10 * math.log10((energy + 1e-7) / (energy * 10 ** (level_db / 10) + 1e-7))
    assert sdr(s, estimate) == pytest.approx(expected, abs=1e-9)
    assert sdr(s, estimate) == pytest.approx(-level_db, abs=1e-4)  # the epsilon hardly shows
    assert si_sdr(s, estimate) == pytest.approx(-level_db, abs=1e-9)


def test_usdr_is_the_formula_with_its_epsilon():
    s = np.array([[1e-4, -2e-4], [0.0, 3e-4]])
    e = np.array([[0.0, -1e-4], [1e-4, 3e-4]])
    expected = 10 * math.log10((14e-8 + 1e-7) / (3e-8 + 1e-7))
    assert sdr(s, e) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("gain", [1e-6, 0.3, 7.0, -2.0])
def test_a_gain_on_the_estimate_leaves_si_sdr_and_changes_usdr(gain):
    s = noise()
    estimate = s + orthogonal_noise(s, -10.0)
    assert si_sdr(s, gain * estimate) == pytest.approx(10.0, abs=1e-9)
    assert abs(sdr(s, gain * estimate) - 10.0) > 1.0


def test_half_the_level_costs_six_decibels_of_usdr():
    s = noise()
    assert sdr(s, 0.5 * s) == pytest.approx(20 * math.log10(2), abs=1e-6)


def test_channels_are_joint_not_averaged():
    s = np.stack([np.ones(100), 0.1 * np.ones(100)])
    estimate = s * np.array([[1.0], [0.0]])  # perfect left, silent right
    assert sdr(s, estimate) == pytest.approx(10 * math.log10(101 / 1), abs=1e-6)


def test_the_mean_is_not_removed_from_si_sdr():
    s = noise()
    shifted = s + 1.0
    centred = s - s.mean()
    assert si_sdr(s, shifted) < 1.0 < si_sdr(centred, shifted - shifted.mean())


def test_an_exact_copy_is_large_and_finite():
    s = noise()
    energy = float(np.vdot(s, s))
    assert sdr(s, s) == pytest.approx(10 * math.log10(energy / 1e-7), abs=1e-6)
    assert sdr(s, s) > 100.0
    assert si_sdr(s, s) == SI_SDR_LIMIT
    assert si_sdr(s, 0.3 * s) == SI_SDR_LIMIT


def test_a_silent_estimate_is_zero_in_usdr_and_the_lower_limit_in_si_sdr():
    s = noise()
    assert sdr(s, np.zeros_like(s)) == 0.0
    assert si_sdr(s, np.zeros_like(s)) == -SI_SDR_LIMIT


def test_an_estimate_with_nothing_of_the_reference_is_the_lower_limit():
    left = np.array([[1.0, 0.0]])
    right = np.array([[0.0, 1.0]])
    assert si_sdr(left, right) == -SI_SDR_LIMIT


def test_single_precision_audio_is_summed_in_double():
    value = 1 + 2.0**-12  # its square does not fit into float32
    s = np.full((1, 4), value, dtype=np.float32)
    expected = 10 * math.log10((4 * value**2 + 1e-7) / (4 * 0.25 + 1e-7))
    assert sdr(s, s - np.float32(0.5)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", [sdr, si_sdr])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["reference", "estimate"])
def test_nan_and_infinity_are_errors_that_name_the_side(metric, bad, side):
    pair = {"reference": noise(1), "estimate": noise(2)}
    pair[side][1, 7] = bad
    with pytest.raises(ValueError, match=f"the {side} has samples that are NaN or infinite"):
        metric(pair["reference"], pair["estimate"])


@pytest.mark.parametrize("metric", [sdr, si_sdr])
def test_unequal_shapes_and_empty_signals_are_errors(metric):
    with pytest.raises(ValueError, match=r"reference is \(2, 4000\), estimate \(2, 3999\)"):
        metric(noise(), noise()[:, :-1])
    with pytest.raises(ValueError, match="no samples"):
        metric(np.zeros((2, 0)), np.zeros((2, 0)))


def test_si_sdr_of_a_zero_reference_is_an_error():
    with pytest.raises(ValueError, match="reference of zeros"):
        si_sdr(np.zeros((2, 10)), np.ones((2, 10)))


@pytest.mark.parametrize(
    ("peak", "silent"), [(0.0, True), (SILENCE, True), (2 * SILENCE, False), (np.nan, False)]
)
def test_silence_is_up_to_one_step_of_16_bits(peak, silent):
    signal = np.zeros((2, 100), dtype=np.float32)
    signal[1, 50] = -peak
    assert is_silent(signal) is silent
