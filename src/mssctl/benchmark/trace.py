"""A trace of benchmark steps by PyTorch's profiler, and the operators that took longest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from mssctl.errors import ExitCode, MssctlError
from mssctl.files import FileSet
from mssctl.results.bench import OperatorTime

_OPERATORS = 10


def profiled(step: Callable[[], object], device: torch.device, path: Path) -> list[OperatorTime]:
    """Two more steps under PyTorch's profiler.

    Args:
        step: does one.
        device: it computes on.
        path: the trace goes there, in Chrome's format; it appears complete or not at all.

    Raises:
        MssctlError: the trace cannot be written (exit 3), or something is there (exit 2).
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        for _ in range(2):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
    try:
        with FileSet(path.parent) as files:
            profiler.export_chrome_trace(str(files.add(path)))
    except OSError as error:
        raise MssctlError(
            f"{path}: cannot be written: {error.strerror}", exit_code=ExitCode.ENVIRONMENT
        ) from None
    own = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    rows = [(float(getattr(row, own, 0.0)), row) for row in profiler.key_averages()]
    whole = sum(taken for taken, _ in rows) or 1.0
    rows.sort(key=lambda pair: -pair[0])
    return [
        OperatorTime(row.key, taken / 1e6 / 2, taken / whole, row.count // 2)
        for taken, row in rows[:_OPERATORS]
    ]
