"""A check that hangs, dies or raises costs one line, and the others are still run."""

from __future__ import annotations

import threading
import time

import pytest

from mssctl.api.doctor import examine
from mssctl.checks import run
from mssctl.checks.run import Check
from mssctl.events import Progress
from mssctl.options.doctor import DoctorOptions

CHECKS = """
import os, signal, subprocess, sys, time
from mssctl.errors import MssctlError
from mssctl.checks.findings import failed, note, ok

def fine(settings):
    yield ok("fine", settings.out)

def two(settings):
    yield ok("first", "a")
    yield note("second", "b", "do something")

def bad(settings):
    yield failed("bad", "broken", "fix it")

def raises(settings):
    yield ok("lost", "what was said before does not count")
    raise ValueError("no such thing\\nmore of it")

def refuses(settings):
    yield ok("lost", "also fine")
    raise MssctlError("base.yaml: model: unknown key 'x'", "did you mean 'y'?")

def hangs(settings):
    print("about to hang", file=sys.stderr)
    subprocess.Popen(["sleep", "60"])
    time.sleep(60)

def dies(settings):
    os.kill(os.getpid(), signal.SIGSEGV)

def leaves(settings):
    print("goodbye", file=sys.stderr)
    sys.exit(7)

def noisy(settings):
    print("this is not JSON")
    os.write(1, b"neither is this\\n")
    os.system("echo nor this")
    yield ok("noisy", "\\u6b4c \\udcff")
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    (tmp_path / "checks_of_a_test.py").write_text(CHECKS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(name: str, **rest):
        return Check(name, f"checks_of_a_test:{name}", **rest)

    return make


def examined(*groups, **settings):
    result = examine(groups, DoctorOptions(**settings))
    return result, [(finding.name, finding.state) for finding in result.findings]


def test_checks_are_run_in_order_and_told_the_settings(check):
    result, states = examined([check("fine"), check("two")], out="/some/place")
    assert states == [("fine", "ok"), ("first", "ok"), ("second", "note")]
    assert result.findings[0].summary == "/some/place"
    assert result.fit


def test_a_failure_makes_the_machine_unfit(check):
    result, states = examined([check("bad"), check("fine")])
    assert states == [("bad", "failed"), ("fine", "ok")]
    assert not result.fit


def test_an_error_that_the_user_can_mend_is_a_failure_with_its_hint(check):
    result, states = examined([check("refuses"), check("fine")])
    assert states == [("refuses", "failed"), ("fine", "ok")]
    assert result.findings[0].summary == "base.yaml: model: unknown key 'x'"
    assert result.findings[0].remedy == "did you mean 'y'?"


def test_a_check_that_raises_is_one_line_with_the_traceback_as_details(check):
    result, states = examined([check("raises"), check("fine")])
    assert states == [("raises", "crashed"), ("fine", "ok")]
    crashed = result.findings[0]
    assert crashed.summary == "ValueError: no such thing"
    assert any("in raises" in line for line in crashed.details)
    assert crashed.remedy
    assert not result.fit


def test_a_check_that_hangs_is_given_up_with_all_that_it_started(check):
    started = time.monotonic()
    result, states = examined([check("hangs", seconds=0.5), check("fine")])
    assert states == [("hangs", "crashed"), ("fine", "ok")]
    assert result.findings[0].summary == "no answer in 0.5 s"
    assert result.findings[0].details == ["about to hang"]
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("name", "words"), [("dies", "killed by SIGSEGV"), ("leaves", "ended with code 7")]
)
def test_a_check_that_ends_its_process_says_how(check, name, words):
    result, states = examined([check("fine"), check(name), check("two")])
    assert states[:2] == [("fine", "ok"), (name, "crashed")]
    assert len(states) == 4
    assert words in result.findings[1].summary


def test_what_a_check_prints_does_not_disturb_the_report(check):
    result, states = examined([check("noisy"), check("fine")])
    assert states == [("noisy", "ok"), ("fine", "ok")]
    assert result.findings[0].summary == "\u6b4c \udcff"


@pytest.mark.parametrize("name", ["bad", "raises", "dies"])
def test_what_needs_a_broken_check_is_not_run(check, name):
    last = check("hangs", needs=(name,))
    result, states = examined([check(name), last, check("fine")])
    assert states == [
        (name, "failed" if name == "bad" else "crashed"),
        ("hangs", "note"),
        ("fine", "ok"),
    ]
    assert result.findings[1].summary == f"not checked: it needs {name}"


def test_groups_run_at_the_same_time_and_are_reported_in_order(check):
    seen = []
    result = examine(
        [[check("two")], [check("fine"), check("noisy")]], DoctorOptions(), seen.append
    )
    assert [finding.name for finding in result.findings] == ["first", "second", "fine", "noisy"]
    assert [(event.done, event.total) for event in seen if isinstance(event, Progress)] == [
        (1, 3),
        (2, 3),
        (3, 3),
    ]


def test_an_interruption_ends_the_children(check):
    group = run.Group([check("hangs"), check("fine")], DoctorOptions(), lambda _: None)
    thread = threading.Thread(target=group.run)
    thread.start()
    while group.child is None:
        time.sleep(0.01)
    group.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert group.child.process.poll() is not None


def test_an_interruption_of_the_report_is_passed_on(check):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        examine([[check("fine"), check("hangs")]], DoctorOptions(), interrupt)


def test_a_machine_that_can_start_no_process_still_gets_a_report(check, monkeypatch):
    def refuse(*arguments, **rest):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(run.subprocess, "Popen", refuse)
    result, states = examined([check("fine"), check("two")])
    assert states == [("fine", "crashed"), ("two", "crashed")]
    assert "Cannot allocate memory" in result.findings[0].summary


def test_a_module_in_the_current_folder_is_not_taken_for_a_package(check, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    (here / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(here)
    _, states = examined([check("fine")])
    assert states == [("fine", "ok")]


def test_what_the_system_refuses_is_a_failure_and_no_crash(monkeypatch):
    from mssctl.checks import child, machine

    def closed(_: DoctorOptions) -> None:
        raise PermissionError(13, "Permission denied", "nr/sub")

    monkeypatch.setattr(machine, "closed", closed, raising=False)
    (finding,) = child.look("mssctl.checks.machine:closed", DoctorOptions(out="nr/sub"))
    assert (finding.state, finding.summary) == ("failed", "nr/sub: Permission denied")
