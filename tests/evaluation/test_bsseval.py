"""BSSEval v4 has museval's numbers, and says where those are not defined."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.bsseval import BSSEval, bsseval, frames, framewise_sdr, windows
from mssctl.evaluation.bsseval.toeplitz import solve

RATE = 8_000
NAMES = ("sdr", "isr", "sir", "sar")


def song(stems: int = 2, channels: int = 2, seconds: float = 3.3, bits: int = 16, seed: int = 0):
    """References on a grid of ``bits``, and estimates that leak and are noisy."""
    noise = np.random.default_rng(seed)
    s = 0.1 * noise.standard_normal((stems, int(seconds * RATE), channels))
    s[:, 1:] += 0.8 * s[:, :-1]
    s = np.round(s * 2 ** (bits - 1)) / 2 ** (bits - 1)
    e = 0.9 * s + 0.1 * s.sum(axis=0) + 0.01 * noise.standard_normal(s.shape)
    return s, e


def museval_scores(s, e, window=RATE, hop=RATE, taps=512):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # museval and what it imports
        found = frames.museval_metrics().bss_eval(s, e, window=window, hop=hop, filters_len=taps)
    return dict(zip(NAMES, found[:4], strict=True))


def ours(s, e, window=RATE, hop=RATE, **kw) -> BSSEval:
    return bsseval(s, e, window=window, hop=hop, **kw)


def agree(found: BSSEval, true, tolerance: float = 1e-6) -> None:
    for name in NAMES:
        a, b = getattr(found, name), true[name]
        assert (np.isnan(a) == np.isnan(b)).all(), name
        finite = np.isfinite(b) & (b < found.limit)
        assert np.abs(a[finite] - b[finite]).max(initial=0.0) < tolerance, name


@pytest.mark.parametrize("stems", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_frame_is_that_of_museval(stems, channels):
    s, e = song(stems, channels)
    agree(ours(s, e), museval_scores(s, e))


@pytest.mark.parametrize(
    ("window", "hop"),
    [(RATE, RATE), (RATE // 2, RATE // 2), (RATE, RATE // 2), (2 * RATE, RATE), (np.inf, np.inf)],
)
def test_windows_and_hops_are_those_of_museval(window, hop):
    s, e = song(2, 2)
    agree(ours(s, e, window, hop), museval_scores(s, e, window, hop))


def test_a_silent_window_of_one_stem_is_nan_for_all_as_in_museval():
    s, e = song(3, 2, seconds=4)
    s[1, RATE : 2 * RATE] = 0.0
    e[2, 3 * RATE :] = 0.0
    found = ours(s, e)
    agree(found, museval_scores(s, e))
    assert np.isnan(found.sdr).all(axis=0).tolist() == [False, True, False, True]


def test_channels_of_opposite_sign_are_silent_to_museval_too():
    s, e = song(2, 2, seconds=3)
    s[0, :RATE, 1] = -s[0, :RATE, 0]
    found = ours(s, e)
    agree(found, museval_scores(s, e))
    assert np.isnan(found.sir[:, 0]).all()


def test_batches_of_windows_change_nothing():
    s, e = song(2, 2, seconds=6)
    whole, parts = ours(s, e), ours(s, e, memory=1.0)
    for name in NAMES:
        np.testing.assert_allclose(getattr(whole, name), getattr(parts, name), atol=1e-9)


def test_a_mono_source_in_stereo_is_left_out_of_the_equations_once():
    s, _ = song(2, 2)
    s[0, :, 1] = s[0, :, 0]
    e = 0.9 * s + 0.1 * s.sum(axis=0) + 0.01 * np.random.default_rng(1).standard_normal(s.shape)
    found = ours(s, e)
    assert found.dropped == 1
    agree(found, museval_scores(s, e), 1e-3)


def test_near_identical_estimates_agree_and_an_exact_one_is_infinite():
    s, _ = song(2, 2)
    near = s + 1e-4 * np.random.default_rng(2).standard_normal(s.shape)
    agree(ours(s, near), museval_scores(s, near), 1e-3)
    assert np.isposinf(ours(s, s.copy()).sdr).all()


@pytest.mark.parametrize("bits", [16, 24])
def test_material_on_which_museval_moves_with_the_level_is_marked(bits):
    s, _ = song(2, 1, seconds=4)
    spectrum = np.fft.rfft(s, axis=1)
    spectrum[:, spectrum.shape[1] // 4 :] = 0.0  # nothing but rounding near half the rate
    s = np.fft.irfft(spectrum, n=s.shape[1], axis=1)
    s = np.round(s * 2 ** (bits - 1)) / 2 ** (bits - 1)
    e = 0.9 * s + 0.1 * s.sum(axis=0) + 1e-3 * np.random.default_rng(3).standard_normal(s.shape)
    found = ours(s, e)
    assert found.ill_conditioned == (bits == 24)


def test_sdr_alone_is_the_sdr_of_the_full_evaluation():
    s, e = song(4, 2)
    np.testing.assert_array_equal(framewise_sdr(s, e, window=RATE, hop=RATE), ours(s, e).sdr)


def test_the_quick_solver_and_cholesky_give_the_same_filters():
    noise = np.random.default_rng(4)
    s = noise.standard_normal((3, 600))
    X = np.stack([[np.correlate(b, a, "full")[599 : 599 + 16] for b in s] for a in s])
    D = noise.standard_normal((3, 16, 2))
    quick, slow = solve(X, D), solve(X, D, quick=False)
    assert (quick.solver, slow.solver) == ("levinson", "cholesky")
    np.testing.assert_allclose(quick.taps, slow.taps, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda s, e: (s, e[:1]), "both must be"),
        (lambda s, e: (s[:, :100], e[:, :100]), "fewer than the 512 taps"),
        (lambda s, e: (0 * s, e), "reference is silent throughout"),
        (lambda s, e: (s, e * np.nan), "NaN or infinite"),
    ],
)
def test_what_cannot_be_scored_is_said(spoil, sentence):
    with pytest.raises(ValueError, match=sentence):
        ours(*spoil(*song()))


def test_a_track_shorter_than_a_window_is_one_window():
    assert windows(500, 1_000, 1_000) == [(0, 500)]
    assert windows(2_500, 1_000, 1_000) == [(0, 1_000), (1_000, 2_000)]


def test_museval_scores_without_an_ffmpeg_program(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    frames.museval_metrics.cache_clear()
    s, e = song(2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = frames.museval_scores(s, e, RATE, RATE)
    assert np.isfinite(found).all()


def test_museval_that_is_missing_is_one_sentence(monkeypatch):
    frames.museval_metrics.cache_clear()
    monkeypatch.setattr(frames, "find_spec", lambda name: None)
    with pytest.raises(MssctlError, match="museval's metrics cannot be imported") as caught:
        frames.museval_metrics()
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
