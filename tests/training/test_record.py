"""What a run folder tells about the run."""

from __future__ import annotations

import errno
import json

import pytest
import torch

from mssctl.errors import ExitCode, MssctlError
from mssctl.training.record import Metrics, dtypes_inside, record_environment


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


@pytest.mark.parametrize("amp_dtype", ["float32", "bfloat16"])
def test_the_dtype_inside_is_seen_not_assumed(make_config, make_state, amp_dtype):
    model = make_state(make_config()).model
    before = torch.get_rng_state()
    seen = dtypes_inside(model, amp_dtype, torch.device("cpu"))
    assert seen["Conv1d"] == {amp_dtype: 1}
    assert model.training
    assert torch.equal(before, torch.get_rng_state())


def test_each_session_of_a_run_is_recorded(tmp_path, make_config, make_state):
    config = make_config(training={"gradient_accumulation_steps": 3})
    model = make_state(config).model
    for step in (0, 12):
        record_environment(tmp_path, model, config, torch.device("cpu"), step)
    sessions = json.loads((tmp_path / "environment.json").read_text())["sessions"]
    assert [session["from_step"] for session in sessions] == [0, 12]
    assert sessions[0]["effective_batch"] == 6
    assert sessions[0]["device"] == "cpu"


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
