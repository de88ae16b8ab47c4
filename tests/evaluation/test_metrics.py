"""The facts on the metrics, held against their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from mssctl.config.metrics import DEFAULT, FRAMEWISE, METRICS, metric_of
from mssctl.evaluation.metrics import measure
from mssctl.evaluation.scoring import score_track
from mssctl.options.base import described_fields
from mssctl.options.evaluate import EvaluateOptions

RATE = 44_100
OF_ONE_STEM = [metric for metric in METRICS.values() if not metric.needs_all_stems]


def noise(seed: int, gain: float = 0.1) -> np.ndarray:
    return gain * np.random.default_rng(seed).standard_normal((2, 2 * RATE))


@pytest.mark.parametrize("metric", OF_ONE_STEM, ids=lambda metric: metric.name)
def test_better_estimates_are_better_and_within_the_range(metric):
    truth, other = noise(0), noise(1)
    estimates = [truth, truth + 0.1 * other, truth + other, 30.0 * other, 0.0 * truth]
    scores = [measure(metric, {"a": truth}, {"a": estimate}, RATE)["a"] for estimate in estimates]
    assert metric.sign * scores[0] > metric.sign * scores[1] > metric.sign * scores[2]
    low, high = metric.range
    assert all(low <= value <= high for value in scores)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_needs_the_other_stems_if_it_says_so(name):
    """The other stem falls silent halfway through: a metric of one stem does not notice."""
    vocals, drums = noise(0), noise(1)
    vocals[:, RATE:] *= 0.01
    half = drums.copy()
    half[:, RATE:] = 0.0
    estimates = {"vocals": vocals + 0.05 * noise(2), "drums": drums}
    values = [
        score_track("a", {"vocals": vocals, "drums": other}, estimates, None, metrics=[name])[0][0]
        for other in (drums, half)
    ]
    one, two = (item.metrics[name].estimate for item in values)
    assert (one != two) is METRICS[name].needs_all_stems


def test_every_metric_says_what_it_is():
    for metric in (*METRICS.values(), *FRAMEWISE.values()):
        assert metric.definition
        assert metric.title
        assert metric.source
        assert metric.formula or metric.name in FRAMEWISE
    assert set(DEFAULT) <= set(METRICS)


def test_the_help_names_every_metric():
    text = described_fields(EvaluateOptions)["metrics"].help
    assert all(name in text for name in (*METRICS, *FRAMEWISE, "bsseval", "all"))


def test_a_name_of_another_version_has_no_unit():
    assert (metric_of("loudness").title, metric_of("loudness").unit) == ("loudness", "")
