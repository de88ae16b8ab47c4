"""Fake GPUs: what pynvml would say on machines that the tests do not have."""

# ruff: noqa: N802 (the names are those of pynvml)

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml

GIB = 2**30

RTX_5090: dict[str, Any] = {
    "Name": "NVIDIA GeForce RTX 5090",
    "MemoryInfo": SimpleNamespace(total=32 * GIB, free=31 * GIB),
    "CudaComputeCapability": (12, 0),
    "UtilizationRates": SimpleNamespace(gpu=0),
    "Temperature": 41,
    "TemperatureThreshold": 90,
    "PowerUsage": 30_000,
    "EnforcedPowerLimit": 575_000,
    "PowerManagementDefaultLimit": 575_000,
    "ClockInfo": 180,
    "MaxClockInfo": 3_090,
    "CurrentClocksThrottleReasons": 0x1,  # idle
    "CurrPcieLinkGeneration": 1,
    "MaxPcieLinkGeneration": 5,
    "CurrPcieLinkWidth": 16,
    "MaxPcieLinkWidth": 16,
    "DisplayActive": 0,
    "ComputeRunningProcesses": [],
    "GraphicsRunningProcesses": [],
}
H100_WITH_MIG: dict[str, Any] = {
    **RTX_5090,
    "Name": "NVIDIA H100 80GB HBM3",
    "MemoryInfo": SimpleNamespace(total=80 * GIB, free=79 * GIB),
    "CudaComputeCapability": (9, 0),
    "UtilizationRates": None,
    "MigMode": (1, 1),
    "MaxMigDeviceCount": 7,
    "EccMode": (1, 1),
    "TotalEccErrors": 0,
}
LAPTOP: dict[str, Any] = {
    **RTX_5090,
    "Name": b"NVIDIA GeForce RTX 3060 Laptop GPU",  # old versions of pynvml give bytes
    "MemoryInfo": SimpleNamespace(total=6 * GIB, free=int(5.5 * GIB)),
    "CudaComputeCapability": (8, 6),
    "EnforcedPowerLimit": None,
    "PowerManagementDefaultLimit": None,
    "CurrPcieLinkWidth": 8,
    "MaxPcieLinkWidth": 8,
    "DisplayActive": 1,
}


class FakeNvml:
    """A stand-in for ``pynvml``: the GPUs given, a driver, or an error when it is opened.

    A GPU maps the names of readings to values; one that is None or missing is not supported.
    """

    def __init__(
        self,
        *gpus: dict[str, Any],
        cuda: int = 13_000,
        version: str = "580.95.05",
        fails: int | None = None,
        slices: tuple[int, ...] = (),
    ) -> None:
        self.gpus, self.cuda, self.version, self.fails = gpus, cuda, version, fails
        self.slices = slices
        self.open = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("nvmlDeviceGet"):
            return lambda handle, *arguments: self.read(handle, name.removeprefix("nvmlDeviceGet"))
        return getattr(pynvml, name)

    def nvmlInit(self) -> None:
        if self.fails is not None:
            raise pynvml.NVMLError(self.fails)
        self.open += 1

    def nvmlShutdown(self) -> None:
        if not self.open:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return self.version

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return self.cuda

    def nvmlSystemGetProcessName(self, pid: int) -> str:
        if pid >= 1_000_000_000:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
        return f"/usr/bin/python-{pid}"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        if "lost" in self.gpus[index]:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return self.gpus[index]

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: int) -> dict[str, Any]:
        if index >= len(self.slices):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        size = self.slices[index] * GIB
        return {"Name": "MIG slice", "MemoryInfo": SimpleNamespace(total=size, free=size)}

    def read(self, handle: dict[str, Any], what: str) -> Any:
        value = handle.get(what)
        if value is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return value


def process(pid: int, memory: int | None) -> SimpleNamespace:
    """A process on a GPU, as pynvml shows it."""
    return SimpleNamespace(pid=pid, usedGpuMemory=memory)
