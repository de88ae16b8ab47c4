"""``mssctl doctor``: what is printed, and the exit code."""

from __future__ import annotations

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


def test_one_line_a_check_with_remedies_and_a_verdict(mssctl, report):
    report(FINE, SMALL, SLOW)
    outcome = mssctl("doctor")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.splitlines() == [
        "ok       Python         3.12",
        "note     memory         small",
        "                        -> buy more",
        "warning  output folder  slow",
        "                        -> use another",
        "this machine passed: 1 ok, 1 note, 1 warning (1.5 s)",
    ]


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
