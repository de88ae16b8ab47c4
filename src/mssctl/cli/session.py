"""One run of a command: events to stderr, the result to stdout, exceptions to exit codes.

This is the only place that turns exceptions into exit codes. With ``--json`` stdout gets exactly
one document, whatever happens: ``{"schema": 1, "exit_code": …, "data": …, "error": …}``.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import typer
from typer.main import get_command

from mssctl.cli.equivalents import instead_of
from mssctl.cli.options import DISPLAY
from mssctl.cli.progress import EventPrinter
from mssctl.cli.render import as_json, exit_code_of, failures_of
from mssctl.cli.signals import ended_like_interrupted
from mssctl.cli.streams import guarded, lead_nowhere, printable, shortened
from mssctl.config.bundled import with_pages
from mssctl.errors import BUG, ExitCode, MssctlError
from mssctl.hardware.processes import follows

Result = TypeVar("Result")

_LONGEST_TRACE = 20_000  # characters


@dataclass(frozen=True)
class Failure:
    """Why a command ended without a result."""

    exit_code: int
    message: str
    hint: str | None = None


class Session:
    """What a command body sees: `report` for events, `show` for its result."""

    def __init__(self, events: EventPrinter, *, asks: bool = True) -> None:
        self.asks = asks
        self.report: EventPrinter = events
        self.result: Any = None
        self.text: Callable[[Any], str] = str

    def confirm(self, question: str) -> bool | None:
        """Ask on the terminal; None where there is none."""
        if not (self.asks and sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
            return None
        try:
            return typer.confirm(question, err=True)
        except typer.Abort:
            raise KeyboardInterrupt from None

    def show(self, result: Result, text: Callable[[Result], str]) -> None:
        """Take the result (a dataclass of `mssctl.results`), printed when the command ends.

        Args:
            result: for ``--json``.
            text: makes what people read of it.
        """
        self.result, self.text = result, text


@contextmanager
def session(
    *, json: bool = False, trains: bool = False, flags: Callable[[str], str] = str
) -> Iterator[Session]:
    """Run a command body.

    Args:
        json: print one JSON document instead of text.
        trains: of several processes that train together (``torchrun``), only the first prints its
            result.
        flags: turns the parameters that a message names into flags.

    Raises:
        typer.Exit: with the exit code, unless that is 0.
    """
    failure: Failure | None = None
    silent = trains and follows()
    events = EventPrinter(DISPLAY.get())
    ui = Session(events, asks=not json)
    try:
        _check_current_folder()
        with events, ended_like_interrupted():
            yield ui
    except (typer.Exit, typer.TyperException):
        raise  # `run` answers those
    except KeyboardInterrupt:
        failure = Failure(ExitCode.INTERRUPTED, "interrupted")
    except Exception as error:  # noqa: BLE001 (anything unforeseen is a bug: exit 1)
        failure = _spelled(_failure(error), flags)
        if DISPLAY.get().verbose or failure.hint is BUG:
            _print_trace()
    if failure:
        raise typer.Exit(_fail(failure, json=json, silent=silent))
    if code := _finish(_with_flags(ui.result, flags), ui.text, json=json, silent=silent):
        raise typer.Exit(code)


def _spelled(failure: Failure, flags: Callable[[str], str]) -> Failure:
    hint = failure.hint
    if hint and hint is not BUG:  # compared by identity
        hint = flags(hint)
    return replace(failure, message=flags(failure.message), hint=hint)


def _with_flags(result: Any, flags: Callable[[str], str]) -> Any:
    """A result whose failures name flags."""
    if not failures_of(result):
        return result
    failures = [
        replace(one, error=flags(one.error), hint=one.hint and flags(one.hint))
        for one in result.failures
    ]
    return replace(result, failures=failures)


def _check_current_folder() -> None:
    """Some libraries abort the process if there is none, before Python can report it.

    Raises:
        MssctlError: it has been removed (exit 3).
    """
    try:
        Path.cwd()
    except OSError as error:
        raise MssctlError(
            f"the current folder cannot be used: {error.strerror}",
            hint="change to a folder that exists",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None


def _failure(error: Exception) -> Failure:
    """The exit code and message that an exception becomes."""
    if isinstance(error, MssctlError):
        return Failure(error.exit_code, error.message, error.hint)
    if isinstance(error, ImportError):
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        return Failure(
            ExitCode.ENVIRONMENT,
            f"a library cannot be loaded: {reason}",
            "check the installation, and the limits of this shell (ulimit -a)",
        )
    if isinstance(error, OSError) and error.strerror:
        names = [os.fsdecode(name) for name in (error.filename, error.filename2) if name]
        where = " -> ".join(names)
        message = f"{where}: {error.strerror}" if where else error.strerror
        return Failure(ExitCode.ENVIRONMENT, message)
    if isinstance(error, MemoryError):
        return Failure(
            ExitCode.BAD_INPUT, "memory ran out", "free some memory, or use a smaller batch"
        )
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # of Path.home()
        return Failure(ExitCode.ENVIRONMENT, "this user has no home folder", "set HOME to one")
    return Failure(ExitCode.FAILED, f"{type(error).__name__}: {error}", BUG)


def _print_trace() -> None:
    trace = traceback.format_exc()
    sys.stderr.write(trace if len(trace) <= _LONGEST_TRACE else trace[-_LONGEST_TRACE:])


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Parse and run one command line; wrong usage ends here.

    Returns:
        The exit code.
    """
    stdout = sys.stdout
    with guarded():
        try:
            code = get_command(app).main(
                args=list(arguments), prog_name="mssctl", standalone_mode=False
            )
        except typer.TyperException as error:
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "mssctl"
            flag = getattr(error, "option_name", "")
            hint = instead_of(flag) if command == "mssctl separate" else None
            failure = Failure(
                error.exit_code, error.format_message(), hint or f"see {command} --help"
            )
            return _fail(failure, json=_wants_json(arguments))
        except MssctlError as error:
            return _fail(_failure(error), json=_wants_json(arguments))
        except OSError as error:  # of --help and --version: `session` answers all others
            return _unwritable(error)
        except SystemExit:  # typer's answer when the reader of --help has gone
            sys.stdout = stdout
            return _unwritable(BrokenPipeError())
    return int(code or 0)


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line that was not understood asks for JSON."""
    return "--json" in (
        arguments[: list(arguments).index("--")] if "--" in arguments else arguments
    )


def _finish(result: Any, text: Callable[[Any], str], *, json: bool, silent: bool = False) -> int:
    """Print a result; the exit code."""
    failures = failures_of(result)
    for failed in failures:
        _complain(f"{failed.path}: {failed.error}", failed.hint)
    code = exit_code_of(result)
    error = None
    if len(failures) == 1:
        message = shortened(f"{failures[0].path}: {failures[0].error}")
        error = {"message": message, "hint": failures[0].hint}
    elif failures:
        error = {"message": f"{len(failures)} inputs failed", "hint": "see data.failures"}
    elif code == ExitCode.INTERRUPTED:
        error = {"message": "interrupted", "hint": None}
    elif code == ExitCode.ENVIRONMENT:
        error = {"message": "this machine failed a check", "hint": "see data.findings"}
    if silent:
        return code
    shown = "" if result is None else text(result)
    written = _write(as_json(code, result, error) if json else shown)
    return code or written


def _fail(failure: Failure, *, json: bool, silent: bool = False) -> int:
    """Print why there is no result; the exit code."""
    _complain(failure.message, failure.hint)
    if json and not silent:
        hint = failure.hint and shortened(failure.hint)
        error = {"message": shortened(failure.message), "hint": hint}
        _write(as_json(failure.exit_code, None, error))
    return failure.exit_code


def _complain(message: str, hint: str | None) -> None:
    """Print one error and its hint on stderr, each on one line of bounded length."""
    shown = hint and with_pages(hint)
    for word, text, color in (("error: ", message, "red"), ("hint: ", shown, "cyan")):
        if text:
            typer.secho(word, nl=False, file=sys.stderr, fg=color, bold=color == "red")
            typer.echo(printable(text), file=sys.stderr)


def _write(text: str) -> int:
    """Write to stdout; 0, or the exit code if that fails."""
    if not text:
        return ExitCode.OK
    if sys.stdout is None:
        _complain("stdout is closed: the result cannot be shown", None)
        return ExitCode.ENVIRONMENT
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        return _unwritable(error)
    return ExitCode.OK


def _unwritable(error: OSError) -> int:
    """Stop using stdout; a reader that has exited (``mssctl … | head``) is not an error."""
    lead_nowhere(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return ExitCode.OK
    _complain(f"stdout cannot be written: {error.strerror}", None)
    return ExitCode.ENVIRONMENT
