"""``mssctl runs``: training runs and how far they are."""

import time
from collections.abc import Iterator
from pathlib import Path

from mssctl.errors import MssctlError
from mssctl.results.runs import RunCurves, RunList
from mssctl.training.runs import is_run, run_curves, run_state

_HINT = "`mssctl train` makes runs; `mssctl runs list FOLDER` looks for them elsewhere"


def list_runs(folder: str | Path = "runs") -> RunList:
    """The runs in a folder, the one that has logged last first; or the one run that it is.

    Raises:
        MssctlError: no such folder, or no runs in it.
    """
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise MssctlError(f"{place}: no such folder", hint=_HINT)
    try:
        inside = [place, *sorted(place.iterdir())]
    except OSError as error:
        raise MssctlError(f"{place}: cannot be read: {error.strerror}") from None
    runs = [run_state(path) for path in inside if path.is_dir() and is_run(path)]
    if not runs:
        raise MssctlError(f"{place}: no runs here", hint=_HINT)
    runs.sort(key=lambda state: state.updated or "", reverse=True)
    return RunList(str(place), runs)


def show_run(run: str | Path) -> RunCurves:
    """One run: how far it is, and its curves so far.

    Raises:
        MssctlError: no run there, or its log cannot be read.
    """
    folder = Path(run).expanduser()
    if not is_run(folder):
        raise MssctlError(f"{folder}: not a run folder", hint=_HINT)
    return run_curves(folder)


def follow_run(run: str | Path, *, seconds: float = 2.0) -> Iterator[RunCurves]:
    """A run again and again, until no process trains in it; at least once.

    Args:
        run: its folder.
        seconds: from one look to the next.

    Raises:
        MssctlError: see `show_run`.
    """
    while True:
        found = show_run(run)
        yield found
        if found.state.status != "running":
            return
        time.sleep(seconds)
