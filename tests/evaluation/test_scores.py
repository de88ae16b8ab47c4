"""Scores of tracks: what is left out, what is an error, and how means are taken."""

from __future__ import annotations

import numpy as np
import pytest

from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.metrics.sdr import sdr, si_sdr
from mssctl.evaluation.scoring import score, score_track
from mssctl.evaluation.summary import counts, means
from mssctl.results.evaluate import StemScore


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, 500)).astype(np.float32)


def song() -> tuple[dict[str, np.ndarray], np.ndarray]:
    stems = {"vocals": noise(1), "drums": noise(2), "bass": noise(3)}
    return stems, sum(stems.values(), np.zeros((2, 500), np.float32))


def test_the_mixture_as_estimate_improves_nothing():
    stems, mixture = song()
    scores, skipped = score_track("a", stems, dict.fromkeys(stems, mixture), mixture)
    assert [item.stem for item in scores] == ["vocals", "drums", "bass"]
    assert skipped == []
    for item in scores:
        assert {metric.improvement for metric in item.metrics.values()} == {0.0}


def test_estimates_and_mixture_are_scored_with_the_same_metrics():
    stems, mixture = song()
    estimate = stems["vocals"] + 0.1 * stems["drums"]
    (item,), _ = score_track("a", stems, {"vocals": estimate}, mixture)
    assert item.metrics["sdr"].estimate == sdr(stems["vocals"], estimate)
    assert item.metrics["si_sdr"].estimate == si_sdr(stems["vocals"], estimate)
    assert item.metrics["sdr"].mixture == sdr(stems["vocals"], mixture)
    assert item.metrics["si_sdr"].mixture == si_sdr(stems["vocals"], mixture)
    assert item.metrics["sdr"].improvement == pytest.approx(
        sdr(stems["vocals"], estimate) - sdr(stems["vocals"], mixture)
    )


def test_a_silent_reference_and_a_missing_one_are_left_out_by_name():
    stems, mixture = song()
    estimates = dict(stems)
    stems["bass"] = np.zeros_like(stems["bass"])
    del stems["drums"]
    scores, skipped = score_track("song 1", stems, estimates, mixture)
    assert [item.stem for item in scores] == ["vocals"]
    assert skipped == [
        "song 1: drums: no reference file",
        "song 1: bass: the reference is silent",
    ]


@pytest.mark.parametrize("fault", ["length", "nan"])
def test_bad_audio_is_an_error_that_names_track_and_stem(fault):
    stems, mixture = song()
    estimates = dict(stems)
    broken = stems["drums"].copy()
    broken[0, 0] = np.nan
    estimates["drums"] = broken if fault == "nan" else broken[:, 1:]
    with pytest.raises(MssctlError, match="song 1: drums: ") as caught:
        score_track("song 1", stems, estimates, mixture)
    assert caught.value.exit_code == ExitCode.BAD_INPUT


def row(track: str, stem: str, estimate: float, mixture: float = 0.0) -> StemScore:
    return StemScore(track=track, stem=stem, metrics={"sdr": score(estimate, mixture)})


def test_means_are_over_tracks_and_then_over_stems():
    scores = [
        row("a", "bass", 1.0, 3.0),
        row("b", "vocals", 4.0, 1.0),
        row("c", "vocals", 8.0, -1.0),
        row("d", "vocals", 9.0, 0.0),
    ]
    stems = ("vocals", "drums", "bass")
    table = means(scores, stems)
    assert list(table) == ["vocals", "bass", "mean"]
    assert table["vocals"]["sdr"] == score(7.0, 0.0)
    assert table["bass"]["sdr"] == score(1.0, 3.0)
    assert table["mean"]["sdr"] == score(4.0, 1.5)  # stems weigh the same
    assert counts(scores, stems) == {"vocals": 3, "bass": 1}


def test_the_improvement_of_the_mean_is_the_mean_of_the_improvements():
    scores = [row("a", "vocals", 4.0, 1.0), row("b", "vocals", -2.0, -7.5)]
    table = means(scores, ("vocals",))
    each = [item.metrics["sdr"].improvement for item in scores]
    assert table["vocals"]["sdr"].improvement == pytest.approx(sum(each) / 2)
