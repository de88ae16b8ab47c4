"""Commands in forked processes, and what happens to them at a moment or a file event."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzzing.calls import call
from fuzzing.verdict import BrokenPromiseError

_EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}
_SECONDS = 30.0  # for a command to end after a signal
BROKEN = "broken.txt"


def forked(
    command: Callable[[], int],
    folder: Path,
    number: signal.Signals = signal.SIGKILL,
    *,
    after: float = 60.0,
    at_event: int = 0,
    action: Callable[[], None] | None = None,
) -> tuple[int, int]:
    """Run a command in a forked process, and do something to it.

    Args:
        command: gives its exit code.
        folder: where it writes.
        number: of the signal.
        after: seconds until the signal comes from outside.
        at_event: or the signal comes before the process does something to a name in the folder
            for this time (`_EVENTS`): the moments at which something can be lost are short.
        action: what happens at the event instead of the signal.

    Returns:
        The exit code, or the signal that ended it, negative, or 98 if it did not end; and how many
        events there were, if ``at_event`` is given.
    """
    counter = multiprocessing.RawValue("i", 0)
    child = os.fork()
    if child == 0:
        code = 99
        try:
            if at_event:
                sys.addaudithook(
                    _hook(
                        str(folder),
                        counter,
                        at_event,
                        action or (lambda: os.kill(os.getpid(), number)),
                    )
                )
            code = command()
        except KeyboardInterrupt:  # before there is anything to clean up
            code = 130
        finally:
            os._exit(code)
    code = wait(child, after)
    if code is None:
        os.kill(child, number)
        code = wait(child, _SECONDS)
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        code = 98
    return code, counter.value


def _hook(
    folder: str, counter: Any, at_event: int, action: Callable[[], None]
) -> Callable[[str, tuple[object, ...]], None]:
    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in _EVENTS and any(folder in str(argument) for argument in arguments):
            counter.value += 1
            if counter.value == at_event:
                action()

    return hook


def wait(child: int, seconds: float) -> int | None:
    """The exit code of a process if it ends in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    return None


def started(command: Callable[[], int]) -> int:
    """Start a command in a forked process; its number, for `wait`."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = command()
        finally:
            os._exit(code)
    return child


def held(folder: Path, *arguments: object) -> int:
    """`call` in a forked process: a promise that it breaks is a line in ``folder/BROKEN``."""
    try:
        return call(*arguments).exit_code
    except BrokenPromiseError as error:
        with (folder / BROKEN).open("a") as file:
            file.write(f"{error}\n")
        return 97


def leftovers(folder: Path) -> list[str]:
    """Hidden and temporary files, as no command leaves them."""
    found = [path.relative_to(folder) for path in folder.rglob("*")]
    return sorted(
        str(path)
        for path in found
        if path.name != ".lock" and (path.name.startswith(".") or path.suffix in (".part", ".tmp"))
    )
