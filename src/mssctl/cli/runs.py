"""``mssctl runs``: training runs, and their curves."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from mssctl.cli.command import command
from mssctl.cli.curves import can_braille, grid
from mssctl.cli.progress import clock
from mssctl.cli.render import aligned, count
from mssctl.cli.session import Session
from mssctl.config.metrics import METRICS
from mssctl.errors import ExitCode, MssctlError
from mssctl.options.base import Options
from mssctl.options.runs import RunsShowOptions
from mssctl.results.runs import RunCurves, RunList, RunState

_PLOT = 8  # lines

Runs = Annotated[Path, typer.Argument(help="Folder of runs, or a run.", metavar="[FOLDER]")]
OneRun = Annotated[Path, typer.Argument(help="Folder of the run.", metavar="RUN")]


@command(Options)
def list_command(ui: Session, options: Options, *, folder: Runs = Path("runs")) -> None:  # noqa: ARG001
    """List training runs: state, score, speed and time left."""
    from mssctl.api.runs import list_runs

    ui.show(list_runs(folder), list_text)


@command(RunsShowOptions)
def show_command(ui: Session, options: RunsShowOptions, *, run: OneRun) -> None:
    """Show how far a run is, and draw its curves in the terminal.

    With --follow until no process trains in it any more; Ctrl-C ends that and leaves the run alone.
    """
    from mssctl.api.runs import follow_run, show_run

    if not options.follow:
        ui.show(show_run(run), curves_text)
        return
    if not ui.asks or not sys.stdout.isatty():
        raise MssctlError(
            "`follow` draws on a terminal: stdout is none, or --json is given",
            hint="leave it out",
            exit_code=ExitCode.USAGE,
        )
    with Live(console=Console(markup=False, highlight=False), auto_refresh=False,
              transient=True) as live:  # fmt: skip
        for found in follow_run(run):
            live.update(Text(curves_text(found).rstrip("\n"), no_wrap=True), refresh=True)
    ui.show(found, curves_text)


def list_text(result: RunList) -> str:
    """One line per run."""
    head = ["run", "state", "step", "best", "s/step", "left", "model"]
    rows = [
        [
            Path(state.run).name or state.run,
            state.status,
            f"{state.step}/{state.total_steps}" if state.total_steps else "",
            _best(state),
            "" if state.seconds_per_step is None else f"{state.seconds_per_step:.3g}",
            "" if state.seconds_left is None else clock(state.seconds_left),
            state.model or state.problem or "",
        ]
        for state in result.runs
    ]
    running = sum(state.status == "running" for state in result.runs)
    last = f"{count(len(result.runs), 'run')} in {result.folder}, {running} running\n"
    return aligned(head, rows) + last


def curves_text(result: RunCurves) -> str:
    """The state of a run, and its curves as wide as the terminal."""
    state = result.state
    rows = [
        ["run", state.run],
        ["state", state.problem or state.status],
        ["steps", f"{state.step}/{state.total_steps}, epoch {state.epoch}"],
        ["best", f"{_best(state)} at step {state.best_step}" if state.best_step else "none yet"],
    ]
    if state.seconds_per_step is not None:
        left = "" if state.seconds_left is None else f", {clock(state.seconds_left)} left"
        rows.append(["speed", f"{state.seconds_per_step:.3g} s a step{left} without validations"])
    if result.damaged_lines:
        rows.append(["log", f"{count(result.damaged_lines, 'line')} that cannot be read"])
    width = shutil.get_terminal_size().columns
    lines = grid(result.curves, width, _PLOT, braille=can_braille())
    return aligned(["", ""], rows) + "".join(f"{line}\n" for line in lines)


def _best(state: RunState) -> str:
    if state.best_score is None:
        return ""
    unit = METRICS[state.metric].unit if state.metric in METRICS else ""
    return f"{state.metric} {state.best_score:.2f} {unit}".rstrip()
