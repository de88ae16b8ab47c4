"""Memory, cores and shared memory that this process may use, containers' limits included."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
SHM = Path("/dev/shm")  # noqa: S108 (where PyTorch's data workers put batches)


_PARENT_DEATH_SIGNAL = 1  # of Linux's prctl


@dataclass(frozen=True)
class Memory:
    """Bytes of main memory in all and available; ``limited`` by a container."""

    total: int
    available: int
    limited: bool


def memory() -> Memory | None:
    """Main memory; None where the system does not say."""
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    pairs = (line.partition(":")[::2] for line in lines)
    values = {name: int(rest.split()[0]) * 1024 for name, rest in pairs}
    total, available = values["MemTotal"], values["MemAvailable"]
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    if limit is None or limit >= total:
        return Memory(total, available, limited=False)
    return Memory(limit, min(available, limit - (used or 0)), limited=True)


def cores() -> float:
    """CPU cores this process may use: its affinity, and a container's quota."""
    allowed = float(
        len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    )
    try:
        quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else min(allowed, int(quota) / int(period))


def shared_memory() -> tuple[int, int] | None:
    """Bytes of ``/dev/shm`` in all and free; None where there is none."""
    try:
        stat = os.statvfs(SHM)
    except (OSError, AttributeError):
        return None
    return stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize


def end_with_parent(parent: int) -> None:
    """Let this process end when the one that started it does, however that ends; on Linux only.

    Args:
        parent: process id of the one that started it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not there, or "max"
        return None
