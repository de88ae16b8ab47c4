"""Results beside each other: paired by track, and never with other definitions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mssctl.cli.eval import comparison_text
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.compare import compare, interval


def summary(folder, numbers, *, model="m", metric="sdr", **provenance):
    """A result with one stem and one metric: track -> number."""
    folder.mkdir()
    scores = [
        {
            "track": track,
            "stem": "vocals",
            "metrics": {metric: {"estimate": value, "mixture": 0.0, "improvement": value}},
        }
        for track, value in numbers.items()
    ]
    document = {
        "model": model,
        "definitions": {metric: "a ratio"},
        "provenance": {
            "metrics": {metric: "a ratio"},
            "frames": {"hop_seconds": 1.0},
            "scored_together": {key: ["vocals"] for key in numbers},
            "references_sha256": {track: {"vocals": "f0"} for track in numbers},
            **provenance,
        },
        "scores": scores,
        "medians": {},
    }
    (folder / "summary.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_a_result_less_itself_is_nothing(tmp_path):
    one = summary(tmp_path / "a", {"x": 1.0, "y": 3.0})
    (other,) = compare([one, one]).others
    (item,) = other.differences
    assert (item.mean, item.median, item.low, item.high, item.wins) == (0.0, 0.0, 0.0, 0.0, 0)


def test_differences_are_paired_and_counted_over_common_tracks(tmp_path):
    one = summary(tmp_path / "a", {"x": 1.0, "y": 3.0, "z": 9.0}, model="old")
    two = summary(tmp_path / "b", {"x": 2.0, "y": 6.0, "w": 0.0}, model="new")
    result = compare([one / "summary.json", two])
    (other,) = result.others
    (item,) = other.differences
    assert (result.first, other.name) == ("old", "new")
    assert (item.mean, item.median, item.tracks, item.wins) == (2.0, 2.0, 2, 2)
    assert 1.0 <= item.low < 2.0 < item.high <= 3.0
    assert (other.only_here, other.missing) == (["w"], ["z"])
    text = comparison_text(result)
    assert "new less old" in text
    assert "not in new: z" in text


def test_where_lower_is_better_a_fall_is_a_win(tmp_path):
    one = summary(tmp_path / "a", {"x": 5.0}, metric="lsd")
    two = summary(tmp_path / "b", {"x": 4.0}, metric="lsd")
    (other,) = compare([one, two]).others
    assert other.differences[0].wins == 1


@pytest.mark.parametrize(
    ("provenance", "what"),
    [
        ({"frames": {"hop_seconds": 0.5}}, "frames hop_seconds: 1.0 against 0.5"),
        ({"metrics": {"sdr": "another"}}, "metrics sdr: a ratio against another"),
        ({"musdb": "MUSDB18 test"}, "musdb: none against MUSDB18 test"),
        ({"references_sha256": {"x": {"vocals": "e1"}}}, "x: other references"),
    ],
)
def test_unlike_definitions_are_refused_by_name(tmp_path, provenance, what):
    one = summary(tmp_path / "a", {"x": 1.0})
    two = summary(tmp_path / "b", {"x": 1.0}, **provenance)
    with pytest.raises(MssctlError, match="not comparable") as caught:
        compare([one, two])
    assert what in caught.value.message
    assert caught.value.exit_code == ExitCode.BAD_INPUT


def test_every_difference_of_the_definitions_is_named(tmp_path):
    one = summary(tmp_path / "a", {"x": 1.0})
    two = summary(tmp_path / "b", {"x": 1.0}, frames={"hop_seconds": 0.5}, gain="matched")
    with pytest.raises(
        MssctlError, match=r"hop_seconds: 1\.0 against 0\.5; gain: none against match"
    ):
        compare([one, two])


def test_what_depends_on_the_other_stems_is_left_out_where_those_differ(tmp_path):
    together = {"scored_together": {"x": ["vocals", "drums"]}}
    one = summary(tmp_path / "a", {"x": 1.0}, metric="csdr")
    two = summary(tmp_path / "b", {"x": 1.0}, metric="csdr", **together)
    with pytest.raises(MssctlError, match="in common"):
        compare([one, two])
    three = summary(tmp_path / "c", {"x": 1.0})
    four = summary(tmp_path / "d", {"x": 3.0}, **together)
    (other,) = compare([three, four]).others
    assert [item.metric for item in other.differences] == ["sdr"]


def test_what_is_no_result_is_an_error(tmp_path):
    one = summary(tmp_path / "a", {"x": 1.0})
    (tmp_path / "b.json").write_text("[]", encoding="utf-8")
    with pytest.raises(MssctlError, match=r"b\.json: expected a JSON object"):
        compare([one, tmp_path / "b.json"])
    with pytest.raises(MssctlError, match="cannot be read"):
        compare([one, tmp_path / "c"])
    with pytest.raises(MssctlError, match="two results") as caught:
        compare([one])
    assert caught.value.exit_code == ExitCode.USAGE
    two = summary(tmp_path / "d", {"other": 1.0})
    with pytest.raises(MssctlError, match="no track and stem in common"):
        compare([one, two])


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        low, high = interval(rng.normal(1.0, 2.0, 30).tolist())
        hits += low < 1.0 < high
    assert 85 <= hits <= 100
