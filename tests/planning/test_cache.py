"""Predictions are computed once per configuration, question and version."""

from __future__ import annotations

import os

import pytest
import torch

from mssctl import presets
from mssctl.planning import cache
from mssctl.planning.predict.fake_step import Peak
from mssctl.planning.predict.tracker import Allocation

PEAK = Peak(
    1, 2, 3, 4, 5, "mm", "blocks.0", {"weights": 7}, (Allocation(8, (1, 2), "float32", "mm", ""),),
    ("flash",), 9, ((1, 2, 3),), 10,
)  # fmt: skip


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A cache of its own, and how often it had to compute."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    times = []

    def ask(config, **question):
        def compute() -> Peak:
            times.append(question)
            return PEAK

        assert cache.remembered(config, question, compute) == PEAK
        return len(times)

    return ask


def test_the_same_question_is_computed_once(asked):
    config = presets.load("small")
    assert [asked(config, mode="train") for _ in range(3)] == [1, 1, 1]


def test_another_configuration_question_or_torch_is_another_prediction(asked, monkeypatch):
    config = presets.load("small")
    assert asked(config, mode="train") == 1
    assert asked(presets.load("small", ["training.batch_size=5"]), mode="train") == 2
    assert asked(config, mode="separate") == 3
    monkeypatch.setattr(torch, "__version__", "3.0")
    assert asked(config, mode="train") == 4


def test_an_edited_file_is_another_prediction_and_a_touched_one_is_not(
    asked, monkeypatch, tmp_path
):
    package = tmp_path / "package"
    (package / "room").mkdir(parents=True)
    (package / "room" / "one.py").write_text("x = 1")
    monkeypatch.setattr(cache, "_PACKAGE", package)
    config = presets.load("small")
    assert asked(config) == 1
    os.utime(package / "room" / "one.py", (1, 1))
    assert asked(config) == 1
    before = (package / "room" / "one.py").stat()
    (package / "room" / "one.py").write_text("x = 2")
    os.utime(package / "room" / "one.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert asked(config) == 2


def test_one_of_several_processes_is_another_prediction(asked, monkeypatch):
    asked_for = []
    monkeypatch.setattr(
        cache, "training_peak", lambda *_, several: asked_for.append(several) or PEAK
    )
    for processes in (1, 2, 4):
        cache.training_peak_of(presets.load("small"), (9, 0), None, processes)
    assert asked_for == [False, True]


def test_a_damaged_entry_is_computed_anew(asked):
    config = presets.load("small")
    asked(config)
    (entry,) = cache.folder().iterdir()
    entry.write_text("{")
    assert asked(config) == 2
    assert asked(config) == 2


def test_a_cache_that_cannot_be_written_does_not_fail(asked, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert [asked(presets.load("small")) for _ in range(2)] == [1, 2]
