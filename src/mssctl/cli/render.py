"""Turns result dataclasses into text for people and into the ``--json`` document."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from mssctl.errors import ExitCode
from mssctl.results.common import FileFailure
from mssctl.results.data import DataCheckResult
from mssctl.results.doctor import DoctorResult
from mssctl.results.evaluate import EvalResult
from mssctl.results.job import JobRunResult
from mssctl.results.models import TryResult
from mssctl.results.separate import SeparateResult
from mssctl.results.train import TrainResult

SCHEMA = 1


def as_json(code: int, data: Any, error: Mapping[str, str | None] | None) -> str:
    """The ``--json`` document, on one line. Its characters are ASCII, so any terminal takes it."""
    document = {"schema": SCHEMA, "exit_code": int(code), "data": plain(data), "error": error}
    return json.dumps(document, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """The value in JSON's own types; NaN and infinities, which JSON lacks, become null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def failures_of(result: Any) -> Sequence[FileFailure]:
    """The inputs that a result reports as failed."""
    reporting = SeparateResult | DataCheckResult | EvalResult | JobRunResult | TryResult
    return result.failures if isinstance(result, reporting) else ()


def exit_code_of(result: Any) -> int:
    """0, 1 if some inputs failed, their own code if all failed alike, 130 if interrupted.

    3 for a machine that failed a check.
    """
    if isinstance(result, DoctorResult) and not result.fit:
        return ExitCode.ENVIRONMENT
    if isinstance(result, TrainResult) and not result.finished:
        return ExitCode.INTERRUPTED
    codes = {failed.exit_code for failed in failures_of(result)}
    if not codes:
        return ExitCode.OK
    if isinstance(result, EvalResult):
        done: Any = result.tracks
    else:
        done = result.models if isinstance(result, TryResult) else result.songs
    return ExitCode.FAILED if done or len(codes) > 1 else codes.pop()


def count(number: int, noun: str) -> str:
    """``1 song``, ``2 songs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    """Aligned columns; styled on a terminal, and never cut: what does not fit wraps."""
    screen = Console(markup=False, highlight=False, emoji=False)
    table = Table(box=None, show_header=any(head), pad_edge=False, header_style="bold")
    for column, title in enumerate(head):
        right = numbers and column > 0
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    if not screen.is_terminal:  # a pipe or file has no width
        screen = Console(file=StringIO(), width=10_000, markup=False, highlight=False, emoji=False)
    with screen.capture() as capture:
        screen.print(table)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
