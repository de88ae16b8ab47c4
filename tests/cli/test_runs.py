"""``mssctl runs``: the state of runs, and their curves at any width."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mssctl.api.runs import follow_run
from mssctl.cli.curves import plot
from mssctl.results.runs import Curve
from mssctl.training.lock import locked

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "run-748904d"


@pytest.fixture
def runs(tmp_path) -> Path:
    """A run that was interrupted at step 3 of 6."""
    shutil.copytree(FIXTURE, tmp_path / "runs" / "old")
    return tmp_path / "runs"


def log(run: Path, steps: int) -> None:
    """Write the log of a run: 10 steps an epoch, validations that get better and then worse."""
    lines = []
    for step in range(1, steps + 1):
        step_line = {"kind": "step", "step": step, "epoch": (step - 1) // 10 + 1,
                     "loss": None if step == 7 else 10.0 / step, "lr": 1e-3, "grad_norm": 2.0,
                     "seconds": 0.5, "resources": {"data_seconds": 0.1}}  # fmt: skip
        lines.append(json.dumps(step_line))
        if step % 10 == 0:
            score = 5.0 - abs(step - 60) / 20
            lines.append(json.dumps({"kind": "validation", "step": step, "epoch": step // 10,
                                     "scores": {"sdr": score}, "best": step <= 60}))  # fmt: skip
    (run / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def make(runs: Path, name: str, steps: int, **training: object) -> Path:
    run = runs / name
    run.mkdir()
    values = {"num_epochs": 20, "steps_per_epoch": 10, "validate_metric": "sdr",
              "early_stopping": 0, **training}  # fmt: skip
    (run / "config.yaml").write_text(json.dumps({"training": values, "model": {"name": "scnet"}}))
    (run / "data.json").write_text("{}")
    log(run, steps)
    return run


def test_runs_are_listed_with_state_score_speed_and_time_left(mssctl, runs):
    going, done = make(runs, "going", 120), make(runs, "done", 200)
    early = make(runs, "early", 100, early_stopping=4)
    (runs / "no run").mkdir()
    with locked(going):
        outcome = mssctl("runs", "list", runs, "--json")
        text = mssctl("runs", runs).stdout
    found = {Path(run["run"]).name: run for run in outcome.document["data"]["runs"]}
    assert {name: run["status"] for name, run in found.items()} == {
        "going": "running", "done": "finished", "early": "finished", "old": "stopped",
    }  # fmt: skip
    run = found["going"]
    assert (run["step"], run["total_steps"], run["epoch"]) == (120, 200, 12)
    assert (run["best_score"], run["best_step"], run["last_score"]) == (5.0, 60, 2.0)
    assert (run["seconds_per_step"], run["seconds_left"]) == (0.5, 40.0)
    assert found["done"]["seconds_left"] is None
    assert "4 runs" in text
    assert "1 running" in text
    assert done.name in text
    assert early.name in text


def test_without_a_folder_the_runs_here_are_listed(mssctl, runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    assert "old" in mssctl("runs").stdout


def test_a_run_whose_configuration_is_damaged_is_listed_as_such(mssctl, runs):
    (runs / "old" / "config.yaml").write_text("training: [")
    outcome = mssctl("runs", runs)
    assert outcome.exit_code == 0
    assert "damaged" in outcome.stdout


@pytest.mark.parametrize("columns", [80, 200])
def test_curves_fit_the_terminal_while_the_run_goes_on(mssctl, runs, monkeypatch, columns):
    run = make(runs, "going", 120)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "step": 121, "lo')  # half written
    monkeypatch.setenv("COLUMNS", str(columns))
    with locked(run):
        outcome = mssctl("runs", "show", run)
    lines = outcome.stdout.splitlines()
    assert outcome.exit_code == 0
    assert lines[0] == f"run    {run}"  # a path is never cut, however long
    assert max(map(len, lines[1:])) <= columns
    assert max(map(len, lines[1:])) > columns - 15
    assert any(line.startswith("loss (1), now 0.08333") for line in lines)
    beside = [line for line in lines if "loss (1)" in line and "sdr (dB)" in line]
    assert len(beside) == (columns >= 160)
    assert any(0x2800 < ord(character) < 0x2900 for character in outcome.stdout)
    assert "0:00:40 left" in outcome.stdout


def test_the_json_document_has_the_curves_without_what_is_not_finite(mssctl, runs):
    run = make(runs, "going", 20)
    curves = mssctl("runs", "show", run, "--json").document["data"]["curves"]
    by_name = {curve["name"]: curve for curve in curves}
    assert list(by_name) == ["loss", "sdr", "lr", "grad_norm", "seconds", "data_seconds"]
    assert 7 not in by_name["loss"]["steps"]
    assert len(by_name["loss"]["steps"]) == 19
    assert by_name["sdr"]["values"] == [2.5, 3.0]


def test_long_runs_are_thinned_and_keep_their_last_step(mssctl, runs):
    run = make(runs, "long", 4_500, num_epochs=500)
    loss = mssctl("runs", "show", run, "--json").document["data"]["curves"][0]
    assert len(loss["steps"]) <= 2_000
    assert loss["steps"][-1] == 4_500


def test_damaged_lines_are_counted(mssctl, runs):
    run = make(runs, "going", 5)
    with (run / "metrics.jsonl").open("a") as file:
        file.write("garbage\n")
    assert "1 line that cannot be read" in mssctl("runs", "show", run).stdout


def test_following_ends_with_the_run(runs):
    run = make(runs, "going", 5)
    with locked(run):
        looks = follow_run(run, seconds=0.0)
        assert next(looks).state.status == "running"
        log(run, 9)
        assert next(looks).state.step == 9
    assert [found.state.status for found in looks] == ["stopped"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["list", "nowhere"], 4, "no such folder"),
        (["list", "."], 4, "no runs here"),
        (["show", "."], 4, "not a run folder"),
        (["show", "old", "--follow"], 2, "--follow draws on a terminal"),
    ],
)
def test_what_is_no_run_ends_with_a_sentence(
    mssctl, tmp_path, monkeypatch, arguments, code, sentence
):
    monkeypatch.chdir(tmp_path)
    outcome = mssctl("runs", *arguments)
    assert (outcome.exit_code, outcome.stdout) == (code, "")
    assert sentence in outcome.stderr


@pytest.mark.parametrize("braille", [True, False])
def test_a_falling_curve_falls(braille):
    curve = Curve("loss", "1", list(range(1, 101)), [float(100 - step) for step in range(100)])
    title, *rows, steps = plot(curve, 60, 6, braille=braille)
    assert title == "loss (1), now 1"
    assert "step  1" in steps
    assert steps.endswith("100")
    bodies = [row.split("│" if braille else "|")[1] for row in rows]
    first = [len(body) - len(body.lstrip()) for body in bodies]
    assert first == sorted(first)
    assert (first[0], bodies[-1].rstrip() != "") == (0, True)
