"""Memory, cores and shared memory that this process may use, containers' limits included."""

import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 2**20
GIB = 2**30
CGROUP = Path("/sys/fs/cgroup")
SHM = Path("/dev/shm")  # noqa: S108 (where PyTorch's data workers put batches)


@dataclass(frozen=True)
class Memory:
    """Bytes of main memory in all and available; ``limited`` by a container."""

    total: int
    available: int
    limited: bool


def memory() -> Memory:
    """Main memory."""
    found = psutil.virtual_memory()
    total, available = found.total, found.available
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    if limit is None or limit >= total:
        return Memory(total, available, limited=False)
    return Memory(limit, min(available, limit - (used or 0)), limited=True)


def cores() -> float:
    """CPU cores this process may use: its affinity, and a container's quota."""
    own = psutil.Process()
    affinity = own.cpu_affinity() if hasattr(own, "cpu_affinity") else None  # not on macOS
    allowed = float(len(affinity) if affinity else psutil.cpu_count() or 1)
    try:
        quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else min(allowed, int(quota) / int(period))


def shared_memory() -> tuple[int, int] | None:
    """Bytes of ``/dev/shm`` in all and free; None where there is none."""
    try:
        found = psutil.disk_usage(str(SHM))
    except OSError:
        return None
    return found.total, found.free


def peak_memory() -> float:
    """Bytes of main memory that this process held at most so far; what it holds now on Windows."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return float(psutil.Process().memory_info().rss)
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not there, or "max"
        return None
