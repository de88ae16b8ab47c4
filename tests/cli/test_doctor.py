"""``mssctl doctor``: what is printed, and the exit code."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from mssctl.api import doctor as task
from mssctl.results.doctor import DoctorResult, Finding

FINE = Finding("Python", "ok", "3.12", None, ["/usr/bin/python"])
SMALL = Finding("memory", "note", "small", "buy more")
SLOW = Finding("output folder", "warning", "slow", "use another", ["/mnt"])
BROKEN = Finding("PyTorch", "failed", "cannot be imported", "install it", ["line 1", "line 2"])
GONE = Finding("GPUs", "crashed", "no answer", "reboot", ["about to hang 歌"])


@pytest.fixture
def report(monkeypatch):
    """Doctor finds this; what it was asked is kept."""
    asked = {}

    def make(*findings):
        fit = not {"failed", "crashed"} & {finding.state for finding in findings}

        def doctor(options, **arguments):
            asked.update(vars(options), **arguments)
            return DoctorResult("0.1", list(findings), fit, 1.5)

        monkeypatch.setattr(task, "doctor", doctor)
        return asked

    return make


def test_first_what_the_machine_can_do_then_what_is_not_as_it_should_be(mssctl, report):
    speed = Finding("separation speed", "ok", "starter: 2.0 x real time", group="separate")
    report(replace(FINE, group="separate"), speed, replace(SMALL, group="train"),
           replace(SLOW, group="separate"))  # fmt: skip
    outcome = mssctl("doctor")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.splitlines() == [
        "separate  yes, starter: 2.0 x real time",
        "train     yes, on device unknown, small presets such as starter",
        "          `mssctl plan` lists what fits, `mssctl bench PRESET` measures a step",
        "",
        "separate: 2 of 3 checks ok",
        "warning  output folder  slow",
        "                        -> use another",
        "",
        "train: 0 of 1 check ok",
        "note  memory  small",
        "              -> buy more",
        "",
        "this machine passed: 2 ok, 1 note, 1 warning (1.5 s)",
    ]


@pytest.mark.parametrize(
    ("group", "first", "second"),
    [
        ("separate", "separate  no: PyTorch", "train     no: PyTorch"),
        ("train", "separate  yes", "train     no: PyTorch"),
        ("GPU", "separate  yes", "train     yes"),
    ],
)
def test_a_failure_decides_what_the_machine_can_do(mssctl, report, group, first, second):
    report(replace(BROKEN, group=group))
    lines = mssctl("doctor").stdout.splitlines()
    assert lines[0].startswith(first)
    assert lines[1].startswith(second)


def test_fix_prints_lines_that_are_safe_to_paste(mssctl, report, tmp_path):
    odd = Finding("allocator", "failed", "a\nb; touch bad", "unset X\ntouch bad", fix="unset X")
    report(FINE, odd, replace(SMALL, remedy="buy\n`touch bad`"))
    lines = mssctl("doctor", "--fix").stdout.splitlines()
    assert lines == ["unset X; : 'allocator: a b; touch bad'", ": 'memory: buy `touch bad`'"]
    subprocess.run(["sh", "-e", "-c", "\n".join(lines)], check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_with_nothing_to_fix_a_line_says_so(mssctl, report):
    report(FINE, replace(SMALL, name="bf16", remedy="nothing to do for the CPU"))
    assert "bf16" not in mssctl("doctor").stdout
    assert "bf16" in mssctl("doctor", "-v").stdout
    assert mssctl("doctor", "--fix").stdout == ": 'nothing to fix'\n"


@pytest.mark.parametrize("broken", [BROKEN, GONE])
def test_a_failure_or_a_crash_exits_3(mssctl, report, broken):
    report(FINE, broken)
    outcome = mssctl("doctor")
    assert outcome.exit_code == 3
    assert "this machine failed 1 check: 1 ok, 1 " in outcome.stdout


def test_details_come_with_v(mssctl, report):
    report(FINE, BROKEN, GONE)
    assert "line 2" not in mssctl("doctor").stdout
    text = mssctl("doctor", "-v").stdout
    for words in ("/usr/bin/python", "line 1", "line 2", "about to hang 歌"):
        assert words in text


def test_json_is_one_document_with_every_finding(mssctl, report):
    report(FINE, BROKEN)
    outcome = mssctl("doctor", "--json")
    assert outcome.exit_code == outcome.document["exit_code"] == 3
    data = outcome.document["data"]
    assert data["fit"] is False
    assert [finding["state"] for finding in data["findings"]] == ["ok", "failed"]
    assert data["findings"][1]["remedy"] == "install it"
    assert outcome.document["error"]["message"] == "this machine failed a check"


def test_json_of_a_fit_machine_has_no_error(mssctl, report):
    report(FINE)
    outcome = mssctl("doctor", "--json")
    assert (outcome.exit_code, outcome.document["error"]) == (0, None)


def test_the_options_reach_the_checks(mssctl, report, tmp_path):
    asked = report(FINE)
    mssctl("doctor", "--require-gpu", "--data", tmp_path, "--out", "there")
    assert asked["require_gpu"] is True
    assert (asked["data"], str(asked["out"])) == (tmp_path, "there")
