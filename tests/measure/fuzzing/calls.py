"""Run the program in this process: exit code, and all that reached stdout and stderr."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fuzzing.verdict import BrokenPromiseError, promise

SECONDS = 30  # a call that takes longer hangs
PATIENCE = 5  # seconds until training that goes on and on is interrupted
LONGEST = 2_500  # characters of a line on stderr: a path may have many of them
_BEGINNINGS = ("error: ", "hint: ", "note: ", "warning: ", "epoch ", "step ", "  ")


class SlowError(BrokenPromiseError):
    """A command did not end in time."""


class HangError(BaseException):
    """A call took too long. Not an Exception, so that nobody takes it for an error of a song."""


@dataclass(frozen=True)
class Call:
    """How one command line ended."""

    exit_code: int
    document: dict[str, Any]
    stderr: str

    @property
    def data(self) -> Any:
        """The result, None if there is none."""
        return self.document["data"]

    @property
    def reasons(self) -> list[str]:
        """What went wrong, one line for each."""
        return self._said("error: ")

    @property
    def remarks(self) -> set[str]:
        """Notes and warnings on stderr."""
        return {*self._said("note: "), *self._said("warning: ")}

    def _said(self, beginning: str) -> list[str]:
        lines = self.stderr.splitlines()
        return [line.removeprefix(beginning) for line in lines if line.startswith(beginning)]


def call(*arguments: object, interrupt: bool = False) -> Call:
    """Run ``mssctl ARGUMENTS --json``, and hold it to what every command promises.

    With ``interrupt`` it gets a Ctrl-C after `PATIENCE`, and may then exit with 130.

    Raises:
        SlowError: no end within `SECONDS`.
        BrokenPromiseError: a traceback, a foreign or endless line on stderr, other than one JSON
            document on stdout, an exit code that is not the document's or not known, or
            a failure without a sentence.
    """
    from mssctl.cli.app import main

    words = [str(argument) for argument in arguments]
    with _streams() as read, _limit(interrupt):
        try:
            main([*words, "--json", "--no-progress"])
        except SystemExit as end:
            code = end.code
        except HangError:
            code = "no end"
    stdout, stderr = read()
    shown = " ".join(words)
    if code == "no end":
        raise SlowError(f"no end after {SECONDS} s")
    promise("Traceback" not in stderr and "bug in mssctl" not in stderr, _last(stderr))
    lines = stdout.splitlines()
    promise(len(lines) == 1, f"{len(lines)} lines on stdout: {stdout[:200]!r}")
    document = json.loads(stdout)
    result = Call(int(code or 0), document, stderr)
    codes = (0, 1, 2, 3, 4, 130) if interrupt else (0, 1, 2, 3, 4)
    promise(result.exit_code in codes, f"exit {code}: {stderr[:300]!r}")
    promise(document["exit_code"] == code, f"exit {code}, document {document['exit_code']}")
    promise((document["error"] is not None) == (code != 0), f"exit {code}: {document['error']}")
    promise(code == 130 or bool(result.reasons) == (code != 0), f"exit {code}: {stderr[:300]!r}")
    for line in stderr.splitlines():
        promise(line.startswith(_BEGINNINGS), f"a foreign line: {line[:200]!r} of {shown}")
        promise(len(line) < LONGEST, f"a line of {len(line)} characters: {line[:200]!r}")
    return result


def quiet_call(*arguments: object) -> int:
    """Run ``mssctl ARGUMENTS`` for its exit code only, in a process that is to be killed."""
    from mssctl.cli.app import main

    try:
        with _streams():
            main([*(str(argument) for argument in arguments), "--no-progress"])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _last(stderr: str) -> str:
    """The end of a traceback: where, and which error."""
    lines = [line.strip() for line in stderr.strip().splitlines()]
    places = [line for line in lines if line.startswith("File ")]
    errors = [line for line in lines if line.startswith("error: ")]
    return f"traceback: {' '.join([*errors[-1:], *places[-1:]])}"[:400]


@contextmanager
def _streams() -> Iterator[Any]:
    """Catch both streams, also what C libraries write; gives a function that reads them."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    python = sys.stdout, sys.stderr
    files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]  # noqa: SIM115 (closed below)
    for number, file in enumerate(files, 1):
        os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(os.fdopen(os.dup(number), "wb"), encoding="utf-8") for number in (1, 2)
    )
    texts: list[str] = []
    try:
        yield lambda: texts
    finally:
        sys.stdout.close()
        sys.stderr.close()
        sys.stdout, sys.stderr = python
        for number, (file, old) in enumerate(zip(files, kept, strict=True), 1):
            os.dup2(old, number)
            os.close(old)
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
            file.close()


@contextmanager
def _limit(interrupt: bool) -> Iterator[None]:
    interrupts = [signal.SIGINT] if interrupt else []

    def stop(_number: int, _frame: object) -> None:
        if not interrupts:
            raise HangError
        signal.alarm(SECONDS)
        signal.raise_signal(interrupts.pop())

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE if interrupt else SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
