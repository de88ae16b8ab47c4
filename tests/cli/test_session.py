"""Exit codes, streams and the JSON document, for every way a command can end."""

from __future__ import annotations

import json
import os
import signal

import pytest
import typer

from mssctl.cli.options import Json, with_display
from mssctl.cli.separate import songs_text
from mssctl.cli.session import run, session
from mssctl.cli.train import train_text
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Saved, Step, Validated
from mssctl.results.common import FileFailure
from mssctl.results.separate import SeparatedSong, SeparateResult
from mssctl.results.train import TrainResult

STEP = Step(
    epoch=1,
    step=5,
    total_steps=105,
    loss=-3.2,
    terms={"si_sdr": -4.0, "l1": 0.8},
    lr=5e-4,
    grad_norm=1.5,
    seconds=0.5,
    memory=(3.1, 4.0),
)


def song(path: str, speed: float = 2.0) -> SeparatedSong:
    return SeparatedSong(path, {"vocals": f"{path}-vocals"}, 60.0, 44_100, 2, speed, ["resampled"])


def failure(path: str, code: int) -> FileFailure:
    return FileFailure(path, "0 frames of audio", "is it still being written?", code)


def separated(songs=(), failures=()) -> SeparateResult:
    return SeparateResult("starter", "cpu", "float32", list(songs), list(failures))


def trained(*, finished: bool) -> TrainResult:
    return TrainResult("runs/a", 10, 1, finished, None, "sdr", "runs/a/last", None, 3.0)


@pytest.fixture
def end(capsys):
    """Run a command whose body is the given function of `ui`."""

    def call(body, *arguments):
        app = typer.Typer()

        def command(json: Json = False) -> None:
            with session(json=json) as ui:
                body(ui)

        app.command()(with_display(command))
        capsys.readouterr()
        code = run(app, arguments)
        return code, *capsys.readouterr()

    return call


def raiser(error):
    def body(ui):
        raise error

    return body


@pytest.mark.parametrize("code", [c for c in ExitCode if c is not ExitCode.OK])
def test_an_expected_failure_has_its_code_its_sentence_and_an_empty_stdout(end, code):
    body = raiser(MssctlError("song.wav: 0 frames", hint="look at it", exit_code=code))
    assert end(body) == (code, "", "error: song.wav: 0 frames\nhint: look at it\n")
    got, stdout, _ = end(body, "--json")
    assert got == code
    assert json.loads(stdout) == {
        "schema": 1,
        "exit_code": code,
        "data": None,
        "error": {"message": "song.wav: 0 frames", "hint": "look at it"},
    }


def test_a_bug_shows_its_traceback_and_exits_1(end):
    code, stdout, stderr = end(raiser(KeyError("x")))
    assert (code, stdout) == (1, "")
    assert "Traceback (most recent call last)" in stderr
    assert "error: KeyError: 'x'\nhint: this is a bug in mssctl" in stderr
    code, stdout, _ = end(raiser(KeyError("x")), "--json")
    assert json.loads(stdout)["exit_code"] == code == 1


def test_an_interrupt_exits_130_without_a_traceback(end):
    assert end(raiser(KeyboardInterrupt())) == (130, "", "error: interrupted\n")
    assert json.loads(end(raiser(KeyboardInterrupt()), "--json")[1])["exit_code"] == 130


def test_sigterm_ends_a_command_as_ctrl_c_does(end):
    """So that temporary files go."""
    before = signal.getsignal(signal.SIGTERM)
    assert end(lambda ui: signal.raise_signal(signal.SIGTERM))[0] == 130
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_ends_a_forked_process_at_once(end, monkeypatch):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)

    def body(ui):
        monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a worker that was forked
        with pytest.raises(KeyboardInterrupt):  # where it is not the end
            signal.raise_signal(signal.SIGTERM)
        ui.show(trained(finished=True), train_text)

    assert end(body)[0] == 0
    assert ended == [128 + signal.SIGTERM]


def test_an_interrupted_training_run_exits_130_and_says_how_to_go_on(end):
    code, stdout, _ = end(lambda ui: ui.show(trained(finished=False), train_text))
    assert code == 130
    assert "mssctl resume runs/a" in stdout
    assert end(lambda ui: ui.show(trained(finished=True), train_text))[0] == 0


@pytest.mark.parametrize(
    ("songs", "failures", "code"),
    [
        (["a"], [], 0),
        (["a"], [("b", 4)], 1),
        ([], [("b", 4)], 4),
        ([], [("b", 4), ("c", 4)], 4),
        ([], [("b", 4), ("c", 3)], 1),
    ],
)
def test_failed_inputs_decide_the_exit_code_and_are_named(end, songs, failures, code):
    result = separated([song(name) for name in songs], [failure(*item) for item in failures])
    got, stdout, stderr = end(lambda ui: ui.show(result, songs_text))
    assert got == code
    assert bool(stdout) == bool(songs)
    for name, _ in failures:
        assert f"error: {name}: 0 frames of audio\n" in stderr
    document = json.loads(end(lambda ui: ui.show(result, songs_text), "--json")[1])
    assert document["exit_code"] == code
    assert len(document["data"]["failures"]) == len(failures)
    assert (document["error"] is None) == (not failures)


@pytest.mark.parametrize("speed", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_say_becomes_null(end, speed):
    stdout = end(lambda ui: ui.show(separated([song("a", speed)]), songs_text), "--json")[1]
    assert json.loads(stdout)["data"]["songs"][0]["speed"] is None
    assert "NaN" not in stdout
    assert "Infinity" not in stdout


def test_a_failure_after_the_result_still_gives_one_document(end):
    def body(ui):
        ui.show(separated([song("a")]), songs_text)
        raise MssctlError("disk full")

    code, stdout, _ = end(body, "--json")
    assert code == 4
    assert json.loads(stdout)["error"]["message"] == "disk full"


@pytest.mark.parametrize("name", ["[bold]x[/].wav", "ça va ♪.wav", "-rf.wav", "bad\udcff.wav"])
def test_a_name_is_printed_as_it_is_and_whole(end, name):
    path = "long folder/" * 30 + name
    code, stdout, _ = end(lambda ui: ui.show(separated([song(path)]), songs_text))
    assert code == 0
    shown = path.encode("utf-8", "backslashreplace").decode()
    assert f"{shown}-vocals\n" in stdout
    document = json.loads(end(lambda ui: ui.show(separated([song(path)]), songs_text), "--json")[1])
    assert document["data"]["songs"][0]["path"] == path


def test_events_go_to_stderr_and_the_result_to_stdout(end):
    def body(ui):
        ui.report(Notice("running on the CPU: no GPU found"))
        ui.report(STEP)
        ui.report(Validated(1, 5, {"sdr": 3.456, "sdr/bass": 1.0}, best=True))
        ui.report(Saved("run/last", "checkpoint"))
        ui.show(separated([song("a")]), songs_text)

    code, stdout, stderr = end(body)
    assert code == 0
    assert stdout.startswith("a: 0:01:00, 44100 Hz, 2 channels, 2.0 x real time\n")
    assert stderr.splitlines() == [
        "note: running on the CPU: no GPU found",
        "step 5/105: epoch 1, loss -3.200, lr 5.00e-04, mem=3.1/4.0 GiB, 2.00 step/s, 0:00:50 left",
        "epoch 1, step 5: sdr 3.46 (best so far)",
    ]


def test_quiet_leaves_warnings_only(end):
    def body(ui):
        ui.report(Notice("a note"))
        ui.report(STEP)
        ui.report(Notice("clipped", level="warning"))

    assert end(body, "-q")[2] == "warning: clipped\n"


def test_no_progress_leaves_notes(end):
    def body(ui):
        ui.report(Notice("a note"))
        ui.report(STEP)

    assert end(body, "--no-progress")[2] == "note: a note\n"


def test_verbose_names_files_and_loss_terms(end):
    def body(ui):
        ui.report(STEP)
        ui.report(Saved("run/last", "checkpoint"))

    stderr = end(body, "-vv", "--no-progress")[2]
    assert "step 5: si_sdr -4, l1 0.8, grad norm 1.5\n" in stderr
    assert "saved checkpoint: run/last\n" in stderr
