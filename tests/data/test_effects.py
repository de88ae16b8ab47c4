"""What each effect does to a stem, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from mssctl.audio import effects
from mssctl.audio.filters import Band, equalize
from mssctl.data.augment import EQ_BANDS, codec

RATE = 44_100


def noise(seed: int = 0, frames: int = 2 * RATE, channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((channels, frames))).astype(np.float32)


def impulse(frames: int = 65_536) -> np.ndarray:
    audio = np.zeros((1, frames), np.float32)
    audio[0, 0] = 1.0
    return audio


def response_db(audio: np.ndarray, hertz: float) -> float:
    spectrum = np.abs(np.fft.rfft(audio[0]))
    return float(20 * np.log10(spectrum[round(hertz * audio.shape[1] / RATE)]))


# --- equalizer

AT = np.array([100.0, 1_000.0, 8_000.0])


def equalized(audio, rate, gains):
    kinds = [kind for kind, _, _ in EQ_BANDS]
    return equalize(audio, [Band(*band) for band in zip(kinds, AT, gains, strict=True)], rate)


@pytest.mark.parametrize("gain", [-6.0, 6.0])
def test_each_band_of_the_equalizer_reaches_its_gain_and_leaves_the_others(gain):
    places = (20.0, 1_000.0, 20_000.0)
    for band in range(3):
        gains = np.zeros(3)
        gains[band] = gain
        out = equalized(impulse(), RATE, gains)
        for place, hertz in enumerate(places):
            wanted = gain if place == band else 0.0
            assert response_db(out, hertz) == pytest.approx(wanted, abs=0.35)


def test_the_equalizer_at_0_db_copies():
    audio = noise()
    np.testing.assert_allclose(equalized(audio, RATE, np.zeros(3)), audio, atol=1e-6)


def test_a_boost_undoes_a_cut():
    audio = noise()
    gains = np.array([5.0, -4.0, 3.0])
    there = equalized(np.pad(audio, ((0, 0), (0, RATE))), RATE, gains)
    back = equalized(there, RATE, -gains)[:, : audio.shape[1]]
    np.testing.assert_allclose(back, audio, atol=1e-4)


def test_the_equalizer_works_where_its_bands_lie_above_the_highest_frequency():
    assert np.isfinite(equalized(noise(), 8_000, np.full(3, 6.0))).all()


# --- compressor


def test_compressing_evens_out_levels_and_keeps_the_whole():
    audio = noise()
    audio[:, RATE:] *= 10.0  # 20 dB louder
    out = effects.compress_level(audio, RATE, 4.0)
    assert np.square(out).mean() == pytest.approx(np.square(audio).mean(), rel=1e-4)

    def step(x: np.ndarray) -> float:
        return float(
            10 * np.log10(np.square(x[:, RATE + 9_000 :]).mean() / np.square(x[:, :RATE]).mean())
        )

    assert step(audio) == pytest.approx(20.0, abs=0.2)
    assert step(out) < 19.0
    assert step(effects.compress_level(audio, RATE, 20.0)) < step(out)


def test_a_ratio_of_1_copies():
    np.testing.assert_allclose(effects.compress_level(noise(), RATE, 1.0), noise(), rtol=1e-5)


def test_both_channels_are_compressed_alike():
    audio = noise(channels=1).repeat(2, axis=0) * np.float32([[1.0], [0.3]])
    audio[:, RATE:] *= 10.0
    left, right = effects.compress_level(audio, RATE, 4.0)
    np.testing.assert_allclose(right, 0.3 * left, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("frames", [1, 255, 256, 257])
def test_the_compressor_takes_any_length(frames):
    out = effects.compress_level(noise(frames=frames), RATE, 4.0)
    assert out.shape == (2, frames)
    assert np.isfinite(out).all()


# --- soft clipping


@pytest.mark.parametrize("drive", [0.0, 6.0, 12.0])
def test_clipping_bends_peaks_and_leaves_quiet_samples(drive):
    audio = np.linspace(-0.8, 0.8, 2_001, dtype=np.float32)[None].repeat(2, axis=0)
    out = effects.drive(audio, drive)
    assert (np.diff(out) > 0).all()
    limit = 0.8 * 10 ** (-drive / 20)
    assert np.abs(out).max() < limit
    quiet = np.abs(audio) < 0.05 * limit
    np.testing.assert_allclose(out[quiet], audio[quiet], rtol=1e-2)


# --- reverb


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_a_room_decays_by_60_db_in_its_time(seconds):
    out = effects.reverberate(impulse(), RATE, seconds, 0.0, np.random.default_rng(0))[0]
    assert out[0] == pytest.approx(1.0, abs=0.1)
    tail = np.square(out[1:], dtype=np.float64)
    assert tail.sum() == pytest.approx(1.0, abs=0.05)  # 0 dB of the direct sound

    def level(at: float) -> float:
        place = int(at * seconds * RATE)
        return float(10 * np.log10(tail[place : place + 500].mean()))

    assert level(0.1) - level(0.6) == pytest.approx(30.0, abs=1.5)
    assert np.abs(out[int(seconds * RATE) + 1 :]).max() < 1e-6


def test_a_room_sounds_different_in_each_channel_and_the_same_with_the_same_numbers():
    audio = noise(channels=1).repeat(2, axis=0)
    first, again = (
        effects.reverberate(audio, RATE, 0.5, -12.0, np.random.default_rng(7)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


# --- codec


def test_the_transform_of_the_codec_is_an_mdct():
    audio = noise(frames=1024, channels=1)
    n, k = np.arange(2048), np.arange(1024)[:, None]
    window = np.sin(np.pi * (n + 0.5) / 2048)
    block = np.concatenate([np.zeros(1024), audio[0]]) * window
    wanted = (np.cos(np.pi / 1024 * (n + 0.5 + 512) * (k + 0.5)) @ block) * (2 / 1024) ** 0.5
    np.testing.assert_allclose(codec.mdct(audio)[0, 0], wanted, atol=2e-6)


@pytest.mark.parametrize("frames", [1, 1023, 1024, 1025, 30_000])
def test_the_inverse_transform_gives_the_samples_back(frames):
    audio = noise(frames=frames)
    np.testing.assert_allclose(codec.inverse_mdct(codec.mdct(audio), frames), audio, atol=1e-6)


def stems() -> np.ndarray:
    return np.stack([noise(1), 0.3 * noise(2), np.zeros((2, 2 * RATE), np.float32)])


def test_coded_stems_add_up_to_the_coded_mixture():
    mixture = stems().sum(0)
    np.testing.assert_allclose(
        codec.code(stems(), RATE, 12.0, 16_000.0).sum(0),
        codec.code(mixture[None], RATE, 12.0, 16_000.0)[0],
        atol=2e-5,
    )


def snr_below(hertz: float, before: np.ndarray, after: np.ndarray) -> float:
    top = int(hertz / RATE * before.shape[-1])
    spectrum, error = (np.fft.rfft(x)[..., :top] for x in (before, after - before))
    return float(10 * np.log10(np.square(np.abs(spectrum)).sum() / np.square(np.abs(error)).sum()))


@pytest.mark.parametrize("snr", [12.0, 24.0])
def test_coding_noise_has_its_level_and_a_silent_stem_gets_none(snr):
    out = codec.code(stems(), RATE, snr, 16_000.0)
    assert snr_below(2_000, stems().sum(0), out.sum(0)) == pytest.approx(snr - 0.7, abs=1.0)
    assert not out[2].any()
    assert np.square(out[0] - stems()[0]).sum() > np.square(out[1] - stems()[1]).sum()


def test_nothing_is_left_above_the_bandwidth_of_the_codec():
    spectrum = np.abs(np.fft.rfft(codec.code(stems(), RATE, 20.0, 12_000.0)))
    edge = round(12_300 / RATE * 2 * RATE)
    assert spectrum[0, :, edge:].mean() < 0.01 * spectrum[0, :, : edge - 1_000].mean()
    codec.code(stems(), 8_000, 20.0, 12_000.0)  # a bandwidth above the highest frequency
