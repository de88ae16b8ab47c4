"""The rows of a job: what every worker appends to a file of its own, and how readers merge them."""

import json
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssctl.documents import parse_json
from mssctl.errors import ExitCode
from mssctl.files import storage_error

Row = dict[str, Any]

STARTED, DROPPED, FAILED = "started", "dropped", "failed"  # of a song, not final
DONE, SET_ASIDE = "done", "set aside"  # final
WORKER, ENDED, RETRY = "worker", "ended", "retry"  # of no song


class RowFile:
    """The file that one process appends to; each row is on disk when `append` returns.

    Args:
        folder: ``JOB/results``.
    """

    def __init__(self, folder: Path) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        host = socket.gethostname().partition(".")[0]
        self.worker = f"{host}-{os.getpid()}-{stamp}-{secrets.token_hex(3)}"
        self.path = folder / f"{self.worker}.jsonl"
        try:
            folder.mkdir(exist_ok=True)
            self.path.touch(exist_ok=False)
        except OSError as error:
            raise storage_error(self.path, error) from None

    def append(self, status: str, **more: Any) -> Row:
        """Add a row: its status, this worker, the time (seconds since 1970) and ``more``.

        Raises:
            MssctlError: it cannot be written (exit 3).
        """
        row = {"status": status, **more, "worker": self.worker, "time": time.time()}
        try:
            # One write of the whole line: a reader sees it whole, or torn at the end of the file.
            with self.path.open("ab") as file:
                file.write(json.dumps(row).encode("ascii") + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error(self.path, error) from None
        return row


def read_lines(path: Path) -> Iterator[Row]:
    """The rows of one file; a last line without its end is left out: its writer was killed.

    Raises:
        MssctlError: another line is no JSON (exit 3), or the file cannot be read.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                yield parse_json(line, f"{path}:{number}", exit_code=ExitCode.ENVIRONMENT)


def read_rows(folder: Path) -> list[Row]:
    """All rows of all workers, in order of time."""
    rows = (row for path in sorted(folder.glob("*.jsonl")) for row in read_lines(path))
    return sorted(rows, key=lambda row: float(row["time"]))


@dataclass
class Standing:
    """What the rows say of one song.

    Attributes:
        final: its one final row; None while it is not done and not set aside.
        attempts: begun since the last retry, without those that were dropped.
        failed: the row of the last failure since then.
    """

    final: Row | None = None
    attempts: int = 0
    failed: Row | None = None

    def take(self, row: Row) -> None:
        """Add the next row in time. Done stays: another worker may have done the song as well."""
        if self.final and self.final["status"] == DONE:
            return
        status = row["status"]
        if status == RETRY:
            self.final, self.attempts, self.failed = None, 0, None
        elif status in (DONE, SET_ASIDE):
            self.final = row
        elif status == FAILED:
            self.failed = row
        else:
            self.attempts += {STARTED: 1, DROPPED: -1}.get(status, 0)


def merged(rows: Iterable[Row]) -> dict[str, Standing]:
    """What the rows, in order of time, say of each song that they name."""
    standing: dict[str, Standing] = {}
    for row in rows:
        if row["status"] == RETRY:
            for one in row["songs"]:
                standing.setdefault(one, Standing()).take(row)
        elif "song" in row:
            standing.setdefault(row["song"], Standing()).take(row)
    return standing
