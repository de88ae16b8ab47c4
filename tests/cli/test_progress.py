"""Progress on a terminal, and none elsewhere."""

from __future__ import annotations

import pytest

from mssctl.cli.options import Display
from mssctl.cli.progress import EventPrinter, clock
from mssctl.events import Progress


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00:00"), (59.6, "0:01:00"), (3_723, "1:02:03"), (360_000, "100:00:00")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def show(display: Display) -> None:
    with EventPrinter(display) as report:
        report(Progress("a [b].wav", 30, 120, "s", rate=3.14, rate_unit="x real time"))
        report(Progress("a [b].wav", 60, 120, "s", rate=3.14, rate_unit="x real time"))


def test_a_terminal_gets_a_bar_with_its_speed(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    show(Display())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a [b].wav" in captured.err
    assert "60/120 s  3.1 x real time" in captured.err


def test_a_finished_bar_makes_room_for_the_next(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with EventPrinter(Display()) as report:
        report(Progress("first.wav", 10, 10, "s"))
        report(Progress("second.wav", 3, 10, "s"))
        capsys.readouterr()
    last = capsys.readouterr().err
    assert "second.wav" in last
    assert "first.wav" not in last


def test_a_command_that_reports_nothing_draws_nothing(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with EventPrinter(Display()):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("display", [Display(quiet=True), Display(progress=False)])
def test_a_terminal_gets_no_bar_when_it_is_not_wanted(monkeypatch, capsys, display):
    monkeypatch.setenv("FORCE_COLOR", "1")
    show(display)
    assert capsys.readouterr().err == ""


def test_a_file_gets_no_bar(capsys):
    show(Display())
    assert capsys.readouterr().err == ""
