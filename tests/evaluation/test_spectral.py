"""Metrics on spectrograms: what they are 0 or 100 for, and which way they move."""

from __future__ import annotations

import numpy as np
import pytest

from mssctl.audio.mel import mel_filters
from mssctl.evaluation.metrics.spectral import (
    bleedless,
    fullness,
    l1_frequency,
    log_spectral_distance,
)

RATE = 44_100


@pytest.fixture
def sound():
    return 0.1 * np.random.default_rng(0).standard_normal((2, 20_000))


def test_a_copy_is_perfect_by_all_of_them(sound):
    assert l1_frequency(sound, sound) == 100.0
    assert log_spectral_distance(sound, sound) == 0.0
    assert bleedless(sound, sound, RATE) == fullness(sound, sound, RATE) == 100.0


def test_a_gain_moves_every_bin_by_as_many_decibels(sound):
    assert log_spectral_distance(sound, 0.5 * sound) == pytest.approx(6.02, abs=0.01)
    assert fullness(sound, 0.5 * sound, RATE) == pytest.approx(100 / 7.02, abs=0.02)
    assert bleedless(sound, 0.5 * sound, RATE) == 100.0


def test_more_of_another_sound_bleeds_and_less_of_the_own_is_not_full(sound):
    other = 0.05 * np.random.default_rng(1).standard_normal(sound.shape)
    tone = sound * 0 + 0.1 * np.sin(np.arange(sound.shape[1]) * 0.05)
    assert bleedless(tone, tone + other, RATE) < 10.0 < fullness(tone, tone + other, RATE)
    assert fullness(tone + other, tone, RATE) < 10.0 < bleedless(tone + other, tone, RATE)


def test_l1_frequency_is_that_of_the_definition(sound):
    x = sound[:1, :4096]
    padded = np.pad(x[0], 1024)
    frames = np.stack([padded[i : i + 2048] for i in range(0, len(padded) - 2047, 1024)])
    expected = 100 / (1 + 10 * 0.3 * np.abs(np.fft.rfft(frames)).mean())
    assert l1_frequency(x, 0.7 * x) == pytest.approx(expected)


def test_silence_and_short_tracks_give_numbers():
    for length in (1, 100, 5000):
        zeros, ones = np.zeros((1, length)), np.ones((1, length))
        for metric in (l1_frequency, log_spectral_distance):
            assert np.isfinite(
                [metric(zeros, zeros), metric(zeros, ones), metric(ones, zeros)]
            ).all()
        assert np.isfinite([bleedless(zeros, ones, RATE), fullness(ones, zeros, RATE)]).all()


def test_unequal_shapes_are_refused(sound):
    with pytest.raises(ValueError, match="estimate"):
        l1_frequency(sound, sound[:, 1:])


def test_mel_filters_have_equal_area_and_their_peaks_rise():
    bank = mel_filters(RATE, 4096, 64)
    assert bank.shape == (64, 2049)
    assert (np.diff(bank.argmax(axis=1)) > 0).all()
    areas = bank[20:].sum(axis=1) * (RATE / 4096)
    assert areas == pytest.approx(np.ones(44), rel=0.05)
