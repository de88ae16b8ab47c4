"""This process among others: its rank from a launcher, and the signals that ask it to end."""

import ctypes
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing import resource_tracker

from mssctl.errors import ExitCode, MssctlError

# Ctrl-C; a shutdown or `timeout`; a terminal that closes, which Windows has no signal for.
INTERRUPTIONS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_PARENT_DEATH_SIGNAL = 1  # of Linux's prctl


def asked_to_end() -> tuple[signal.Signals, ...]:
    """The signals to handle. A SIGHUP that is ignored at the start, as by `nohup`, stays so."""
    return tuple(
        number
        for number in INTERRUPTIONS
        if number.name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN
    )


def serve(parent: int) -> None:
    """In a process of a pool: signals are for the one that started it, and its end ends this.

    Args:
        parent: process id of the one that started it.
    """
    for number in INTERRUPTIONS:
        if number != signal.SIGTERM:  # with which a broken pool ends its processes
            signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":  # elsewhere it does not learn of it
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)


def start_tracker() -> None:
    """Start the process that multiprocessing cleans up with, safe from a terminal that closes.

    It ignores SIGINT and SIGTERM itself, and inherits that SIGHUP is blocked.
    """
    if not hasattr(signal, "SIGHUP"):
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True)
class Place:
    """The number of this process among ``size`` that train together, and that on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0


def place() -> Place:
    """What `torchrun` set: ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK``; alone without them.

    Raises:
        MssctlError: one of them is no number, or lacks another (exit 3).
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    given = {name: text for name in names if (text := os.environ.get(name, "").strip())}
    if not given:
        return Place()
    numbers = {}
    for name, text in given.items():
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise _unclear(f"{name}={text}: not the number of a process")
        numbers[name] = int(text)
    size = numbers.get("WORLD_SIZE")
    if size is None:
        raise _unclear(f"{' and '.join(given)} without WORLD_SIZE")
    rank = numbers.get("RANK", 0 if size == 1 else None)
    if rank is None:
        raise _unclear(f"WORLD_SIZE={size} without RANK")
    if not 0 <= rank < size:
        raise _unclear(f"RANK={rank} with WORLD_SIZE={size}")
    return Place(rank, size, numbers.get("LOCAL_RANK", rank))


def follows() -> bool:
    """Whether another process of the same training run prints the result."""
    try:
        return place().rank > 0
    except MssctlError:
        return False  # the error is to be seen


def _unclear(message: str) -> MssctlError:
    return MssctlError(
        f"environment: {message}",
        hint="torchrun sets RANK, WORLD_SIZE and LOCAL_RANK; without it, unset them",
        exit_code=ExitCode.ENVIRONMENT,
    )
