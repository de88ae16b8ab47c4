"""``metrics.jsonl``: one line per optimizer step and per validation of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mssctl.documents import parse_json
from mssctl.errors import MssctlError
from mssctl.events import Notice, Reporter, silent
from mssctl.files import write_whole
from mssctl.training.environment import writing


class MetricsFile:
    """Appends lines to the file.

    Lines of steps and validations that a resumed run does again, and lines that cannot be read, are
    cut on opening, so that the file tells one story.

    Args:
        path: of the file; it need not exist.
        last_step: the step that the run continues from.
        last_validated: the step of the last validation that it knows of.
        report: gets a notice of unreadable lines; a torn last one, as a kill leaves it, is normal.

    Raises:
        MssctlError: the file cannot be written; `add` and `close` raise it, too.
    """

    def __init__(
        self, path: Path, last_step: int, last_validated: int, report: Reporter = silent
    ) -> None:
        self._path = path
        last = {"step": last_step, "validation": last_validated}
        with writing(path):
            if path.exists():
                kept, damaged = _upto(path, last)
                write_whole(path, "".join(f"{line}\n" for line in kept))
                if damaged:
                    message = f"{path}: {damaged} damaged line(s) left out"
                    report(Notice(message, level="warning"))
            self._file = path.open("a", encoding="utf-8")

    def add(self, kind: str, **values: Any) -> None:
        """Append one whole line and hand it to the operating system."""
        with writing(self._path):
            self._file.write(json.dumps({"kind": kind, **values}, allow_nan=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with writing(self._path):
            self._file.close()


def last_step(path: Path) -> int:
    """The last step in ``metrics.jsonl``, 0 if there is none."""
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    last = 0
    for line in lines:
        try:
            step = parse_json(line, "line")["step"]
        except (MssctlError, KeyError, TypeError):
            continue
        if isinstance(step, int):
            last = max(last, step)
    return last


def _upto(path: Path, last: dict[str, int]) -> tuple[list[str], int]:
    """The lines up to the ``last`` step of their kind, and how many cannot be read."""
    lines = path.read_bytes().split(b"\n")
    kept, damaged = [], 0
    for number, line in enumerate(lines, 1):
        try:
            values = parse_json(line, f"{path}: line {number}")
            if type(values["step"]) is not int:
                raise TypeError
            if values["step"] <= last[values["kind"]]:
                kept.append(line.decode())
        except (MssctlError, KeyError, TypeError):
            damaged += number < len(lines)  # the last is empty, or torn by a kill
    return kept, damaged
