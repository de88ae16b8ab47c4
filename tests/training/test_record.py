"""What a run folder tells about the run."""

from __future__ import annotations

import errno
import json

import pytest
import torch

from mssctl.errors import ExitCode, MssctlError
from mssctl.training.record import Metrics, add_to_session, record_session


def test_metrics_are_one_story_after_a_resume(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Metrics(path, 0, 0) as metrics:
        for step in range(1, 6):
            metrics.add("step", step=step, loss=0.1 * step)
    path.write_text(path.read_text() + '{"kind": "step", "st')  # killed while writing
    with Metrics(path, 3, 0) as metrics:
        metrics.add("step", step=4, loss=7.0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["loss"] == 7.0
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_each_session_of_a_run_is_recorded(tmp_path):
    for step in (0, 12):
        record_session(tmp_path, torch.device("cpu"), step, {"effective_batch": 6}, {})
    add_to_session(tmp_path, "memory_ran_out", {"step": 13})
    sessions = json.loads((tmp_path / "environment.json").read_text())["sessions"]
    assert [session["from_step"] for session in sessions] == [0, 12]
    assert sessions[0]["effective_batch"] == 6
    assert sessions[0]["device"] == "cpu"
    assert "memory_ran_out" not in sessions[0]
    assert sessions[1]["memory_ran_out"] == [{"step": 13}]


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "environment.json").write_text("[")
    with pytest.raises(MssctlError, match=r"environment\.json: damaged"):
        record_session(tmp_path, torch.device("cpu"), 0, {}, {})


def test_a_validation_that_is_done_again_is_told_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Metrics(path, 0, 0) as metrics:
        for step in (2, 4):
            metrics.add("step", step=step)
            metrics.add("validation", step=step)
    with Metrics(path, 4, 2):  # killed after the line and before the checkpoint that knows of it
        pass
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("step", 2),
        ("validation", 2),
        ("step", 4),
    ]


class Full:
    """A file on a full disk."""

    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")

    flush = close = lambda self: self.write("")


def test_metrics_that_cannot_be_written_are_an_environment_error(tmp_path):
    with pytest.raises(MssctlError, match=r"metrics\.jsonl: cannot be written") as caught:
        Metrics(tmp_path / "missing" / "metrics.jsonl", 0, 0)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    metrics = Metrics(tmp_path / "metrics.jsonl", 0, 0)
    metrics._file.close()
    metrics._file = Full()
    with pytest.raises(MssctlError, match="No space left on device") as caught:
        metrics.add("step", step=1)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
