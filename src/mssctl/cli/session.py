"""One run of a command: events to stderr, the result to stdout, exceptions to exit codes.

This is the only place that turns exceptions into exit codes. With ``--json`` stdout gets exactly
one document, whatever happens: ``{"schema": 1, "exit_code": …, "data": …, "error": …}``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer
from typer.main import get_command

from mssctl.cli.options import DISPLAY
from mssctl.cli.progress import EventPrinter
from mssctl.cli.render import as_json, as_text, exit_code_of, failures_of
from mssctl.errors import ExitCode, MssctlError

_BUG = "this is a bug in mssctl: please report it with the lines above"


@dataclass(frozen=True)
class Failure:
    """Why a command ended without a result."""

    exit_code: int
    message: str
    hint: str | None = None


class Session:
    """What a command body sees: `report` for events, `show` for its result."""

    def __init__(self, events: EventPrinter) -> None:
        self.report: EventPrinter = events
        self.result: Any = None

    def show(self, result: Any) -> None:
        """Take the result (a dataclass of `mssctl.results`); printed when the command ends."""
        self.result = result


@contextmanager
def session(*, json: bool = False) -> Iterator[Session]:
    """Run a command body.

    Args:
        json: print one JSON document instead of text.

    Raises:
        typer.Exit: with the exit code, unless that is 0.
    """
    failure: Failure | None = None
    events = EventPrinter(DISPLAY.get())
    ui = Session(events)
    try:
        with events, _ended_like_interrupted():
            yield ui
    except (typer.Exit, typer.TyperException):
        raise  # `run` answers those
    except MssctlError as error:
        failure = Failure(error.exit_code, error.message, error.hint)
        if DISPLAY.get().verbose:
            traceback.print_exc()
    except KeyboardInterrupt:
        failure = Failure(ExitCode.INTERRUPTED, "interrupted")
    except Exception as error:  # noqa: BLE001 (a bug: shown in full, exit 1)
        traceback.print_exc()
        failure = Failure(ExitCode.FAILED, f"{type(error).__name__}: {error}", _BUG)
    if failure:
        raise typer.Exit(_fail(failure, json=json))
    if code := _finish(ui.result, json=json):
        raise typer.Exit(code)


@contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """Let SIGTERM (a shutdown, `timeout`) end a command as Ctrl-C does, so that it cleans up.

    Training handles both itself. Processes that were forked meanwhile end at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def end(_number: int, _frame: object) -> None:
        if os.getpid() != owner:
            os._exit(128 + signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends it at once
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Parse and run one command line; wrong usage ends here.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file name may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        code = get_command(app).main(
            args=list(arguments), prog_name="mssctl", standalone_mode=False
        )
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "mssctl"
        failure = Failure(error.exit_code, error.format_message(), f"see {command} --help")
        options = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
        return _fail(failure, json="--json" in options)
    return int(code or 0)


def _finish(result: Any, *, json: bool) -> int:
    """Print a result; the exit code."""
    failures = failures_of(result)
    for failed in failures:
        _complain(f"{failed.path}: {failed.error}", failed.hint)
    code = exit_code_of(result)
    error = None
    if len(failures) == 1:
        error = {"message": f"{failures[0].path}: {failures[0].error}", "hint": failures[0].hint}
    elif failures:
        error = {"message": f"{len(failures)} inputs failed", "hint": "see data.failures"}
    elif code == ExitCode.INTERRUPTED:
        error = {"message": "interrupted", "hint": None}
    elif code == ExitCode.ENVIRONMENT:
        error = {"message": "this machine is not fit", "hint": "see data.findings"}
    return _write(as_json(code, result, error) if json else as_text(result)) or code


def _fail(failure: Failure, *, json: bool) -> int:
    """Print why there is no result; the exit code."""
    _complain(failure.message, failure.hint)
    if json:
        error = {"message": failure.message, "hint": failure.hint}
        _write(as_json(failure.exit_code, None, error))
    return failure.exit_code


def _complain(message: str, hint: str | None) -> None:
    """Print one error and its hint on stderr."""
    typer.secho("error: ", nl=False, err=True, fg="red", bold=True)
    typer.echo(message, err=True)
    if hint:
        typer.secho("hint: ", nl=False, err=True, fg="cyan")
        typer.echo(hint, err=True)


def _write(text: str) -> int:
    """Write to stdout; 0, or the exit code if that fails.

    A reader that has gone (``mssctl … | head``) is no reason to complain. Of several processes
    that train together (``torchrun``), the first one speaks.
    """
    if not text or int(os.environ.get("RANK", "0")) > 0:
        return ExitCode.OK
    if sys.stdout is None:
        _complain("stdout is closed: the result cannot be shown", None)
        return ExitCode.ENVIRONMENT
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # Python flushes stdout once more at exit: give it a place that takes everything.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return ExitCode.FAILED
        _complain(f"stdout cannot be written: {error.strerror}", None)
        return ExitCode.ENVIRONMENT
    return ExitCode.OK
