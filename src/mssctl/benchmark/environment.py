"""Where a benchmark ran: versions, machine, and how fast its arithmetic can be."""

import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mssctl.hardware import nvml
from mssctl.hardware.device import AMP_DTYPES, autocast
from mssctl.training.environment import installed, versions


def environment(device: torch.device, receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, machine and what was in force, as JSON values.

    Args:
        device: the benchmark ran on.
        receipt: what was in force.
    """
    cuda = device.type == "cuda"
    return {
        **versions(),
        "torchaudio": installed("torchaudio"),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if cuda else None,
        "cuda": torch.version.cuda,
        "driver": _driver() if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        **receipt,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _driver() -> str | None:
    try:
        return nvml.driver().version
    except nvml.NvmlError:
        return None


def matmul_rate(device: torch.device, dtype: str) -> float:
    """TFLOP/s of the best of a few matrix products of 2048 x 2048.

    Args:
        device: to compute on.
        dtype: a name in `AMP_DTYPES`, or ``float32``.
    """
    size = 2048
    with torch.inference_mode(), autocast(device, dtype):
        kind = AMP_DTYPES.get(dtype, torch.float32)
        a = torch.ones(size, size, device=device, dtype=kind)
        best = float("inf")
        for _ in range(4):
            start = time.perf_counter()
            (a @ a)[0, 0].item()  # waits for the device
            best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best / 1e12
