"""What a run folder tells about the run."""

from __future__ import annotations

import errno
import json
from contextlib import closing

import pytest
import torch

from mssctl.errors import ExitCode, MssctlError
from mssctl.training.environment import add_to_session, record_session
from mssctl.training.log import MetricsFile


def test_metrics_are_one_story_after_a_resume(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with closing(MetricsFile(path, 0, 0)) as metrics:
        for step in range(1, 6):
            metrics.add("step", step=step, loss=0.1 * step)
    path.write_text(path.read_text() + '{"kind": "step", "st')  # killed while writing
    with closing(MetricsFile(path, 3, 0)) as metrics:
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


@pytest.mark.parametrize(
    "content",
    [b"[", b"[]", b"{}", b'{"sessions": 3}', b'{"sessions": [3]}', b"\xff\xfe", b"[" * 100_000],
)
def test_a_damaged_record_is_set_aside_with_a_note(tmp_path, content):
    path = tmp_path / "environment.json"
    notes = []
    for _ in range(2):
        path.write_bytes(content)
        record_session(tmp_path, torch.device("cpu"), 3, {}, {}, notes.append)
    assert [s["from_step"] for s in json.loads(path.read_text())["sessions"]] == [3]
    for number, note in enumerate(notes, 1):
        aside = tmp_path / f"environment.damaged-{number}.json"
        assert aside.read_bytes() == content
        assert aside.name in note.message
        assert len(note.message) < 400


@pytest.mark.parametrize(
    "line",
    [b"\xff\xfe", b"[" * 100_000, b"3", b"{}", b'{"step": "1", "kind": "step"}', b"{", b"\0"],
)
def test_an_unreadable_line_of_the_metrics_is_left_out_with_a_note(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    whole = [b'{"kind": "step", "step": %d}' % step for step in (1, 2)]
    path.write_bytes(b"\n".join([whole[0], line, whole[1], b'{"torn by a kill']))
    notes = []
    with closing(MetricsFile(path, 2, 0, notes.append)):
        pass
    assert path.read_bytes().splitlines() == whole
    assert [note.message for note in notes] == [f"{path}: 1 damaged line(s) left out"]


def test_a_validation_that_is_done_again_is_told_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with closing(MetricsFile(path, 0, 0)) as metrics:
        for step in (2, 4):
            metrics.add("step", step=step)
            metrics.add("validation", step=step)
    # Killed after the line and before the checkpoint that knows of it.
    MetricsFile(path, 4, 2).close()
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
        MetricsFile(tmp_path / "missing" / "metrics.jsonl", 0, 0)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    metrics = MetricsFile(tmp_path / "metrics.jsonl", 0, 0)
    metrics._file.close()
    metrics._file = Full()
    with pytest.raises(MssctlError, match="No space left on device") as caught:
        metrics.add("step", step=1)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
