"""What NVML, the library of the NVIDIA driver, says about GPUs; and how it fails.

All of it is read here and nowhere else, so that a test can stand in a GPU by replacing `library`.
A value that a GPU, a driver or a permission does not give is None.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

Trouble = Literal["package", "no_driver", "not_loaded", "mismatch", "permission", "other"]


class NvmlError(Exception):
    """NVML cannot be used.

    Args:
        trouble: the kind of trouble.
        message: in words.
    """

    def __init__(self, trouble: Trouble, message: str) -> None:
        super().__init__(message)
        self.trouble = trouble


@dataclass(frozen=True)
class Driver:
    """The NVIDIA driver: its version, and the newest CUDA ``(major, minor)`` it can run."""

    version: str
    cuda: tuple[int, int]


@dataclass(frozen=True)
class Process:
    """A process on a GPU; ``memory`` in bytes, where the driver tells."""

    pid: int
    name: str
    memory: int | None


@dataclass(frozen=True)
class MigSlice:
    """One instance of a GPU that is split by MIG; memory in bytes."""

    name: str
    total: int
    free: int


@dataclass(frozen=True)
class Gpu:
    """Readings of one GPU. Memory in bytes, power in watts, clocks in MHz, temperature in °C.

    Attributes:
        index: among the GPUs of the machine, whatever ``CUDA_VISIBLE_DEVICES`` says.
        error: why this GPU cannot be read at all; the other values mean nothing then.
        throttle: reasons why the clocks are held down right now.
        ecc_errors: that could not be corrected, since the driver was loaded.
        mig: whether the GPU is split into instances, and ``slices``, those there are.
        display: whether a screen is driven by it.
    """

    index: int
    name: str = "unknown GPU"
    error: str | None = None
    capability: tuple[int, int] | None = None
    total: int | None = None
    free: int | None = None
    processes: tuple[Process, ...] = ()
    temperature: int | None = None
    temperature_limit: int | None = None
    power: float | None = None
    power_limit: float | None = None
    power_default: float | None = None
    clock: int | None = None
    clock_limit: int | None = None
    throttle: tuple[str, ...] = ()
    utilisation: int | None = None
    ecc: bool | None = None
    ecc_errors: int | None = None
    pcie_generation: int | None = None
    pcie_generation_limit: int | None = None
    pcie_width: int | None = None
    pcie_width_limit: int | None = None
    mig: bool | None = None
    slices: tuple[MigSlice, ...] = ()
    display: bool | None = None


# Bits of nvmlClocksEventReasons (nvml.h). Idle clocks and clocks set by the user are no trouble.
THERMAL = ("software thermal slowdown", "hardware thermal slowdown")
_REASONS = {
    0x04: "power limit",
    0x08: "hardware slowdown",
    0x20: THERMAL[0],
    0x40: THERMAL[1],
    0x80: "power brake of the power supply",
}


def library() -> Any:
    """The module ``pynvml``.

    Raises:
        NvmlError: it is not installed, or broken.
    """
    try:
        return import_module("pynvml")
    except Exception as error:
        raise NvmlError("package", f"pynvml cannot be imported: {error}") from error


def driver() -> Driver:
    """Ask for the driver's version.

    Raises:
        NvmlError: see `NvmlError.trouble`.
    """
    with _opened() as nvml:
        version = _text(nvml.nvmlSystemGetDriverVersion())
        number = int(nvml.nvmlSystemGetCudaDriverVersion())  # 12080 is 12.8
        return Driver(version, (number // 1000, number % 1000 // 10))


def gpus() -> list[Gpu]:
    """Read every GPU.

    Raises:
        NvmlError: see `NvmlError.trouble`.
    """
    with _opened() as nvml:
        return [_gpu(nvml, index) for index in range(int(nvml.nvmlDeviceGetCount()))]


def index_of(number: int) -> int | None:
    """NVML's index of PyTorch's device ``number``: ``CUDA_VISIBLE_DEVICES`` renumbers only that.

    None where the variable hides it or names GPUs otherwise than by number.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return number
    names = [name.strip() for name in visible.split(",")]
    known = number < len(names) and names[number].isascii() and names[number].isdigit()
    return int(names[number]) if known else None


@contextlib.contextmanager
def _opened() -> Iterator[Any]:
    nvml = library()
    try:
        nvml.nvmlInit()
        yield nvml
    except nvml.NVMLError as error:
        raise NvmlError(_trouble(nvml, error), str(error)) from error
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _trouble(nvml: Any, error: Any) -> Trouble:
    kinds: dict[int, Trouble] = {
        nvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no_driver",
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: "not_loaded",
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "mismatch",
        nvml.NVML_ERROR_NO_PERMISSION: "permission",
    }
    return kinds.get(error.value, "other")


def _gpu(nvml: Any, index: int) -> Gpu:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name = _text(nvml.nvmlDeviceGetName(handle))
    except nvml.NVMLError as error:
        return Gpu(index, error=str(error))

    def ask(name: str, *arguments: Any) -> Any:
        return _ask(nvml, name, handle, *arguments)

    memory = ask("nvmlDeviceGetMemoryInfo")
    utilisation = ask("nvmlDeviceGetUtilizationRates")
    capability = ask("nvmlDeviceGetCudaComputeCapability")
    mig, ecc = ask("nvmlDeviceGetMigMode"), ask("nvmlDeviceGetEccMode")
    return Gpu(
        index=index,
        name=name,
        capability=(int(capability[0]), int(capability[1])) if capability else None,
        total=memory and int(memory.total),
        free=memory and int(memory.free),
        processes=_processes(nvml, handle),
        temperature=ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        temperature_limit=ask(
            "nvmlDeviceGetTemperatureThreshold", nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        ),
        power=_watts(ask("nvmlDeviceGetPowerUsage")),
        power_limit=_watts(ask("nvmlDeviceGetEnforcedPowerLimit")),
        power_default=_watts(ask("nvmlDeviceGetPowerManagementDefaultLimit")),
        clock=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        clock_limit=ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
        throttle=_reasons(ask("nvmlDeviceGetCurrentClocksThrottleReasons")),
        utilisation=utilisation and int(utilisation.gpu),
        ecc=bool(ecc[0]) if ecc else None,
        ecc_errors=ask(
            "nvmlDeviceGetTotalEccErrors",
            nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            nvml.NVML_VOLATILE_ECC,
        ),
        pcie_generation=ask("nvmlDeviceGetCurrPcieLinkGeneration"),
        pcie_generation_limit=ask("nvmlDeviceGetMaxPcieLinkGeneration"),
        pcie_width=ask("nvmlDeviceGetCurrPcieLinkWidth"),
        pcie_width_limit=ask("nvmlDeviceGetMaxPcieLinkWidth"),
        mig=bool(mig[0]) if mig else None,
        slices=_slices(nvml, handle) if mig and mig[0] else (),
        display=_flag(ask("nvmlDeviceGetDisplayActive")),
    )


def _ask(nvml: Any, name: str, *arguments: Any) -> Any:
    """One reading; None where the GPU, the driver or a permission does not give it."""
    call: Callable[..., Any] | None = getattr(nvml, name, None)  # an old pynvml lacks some
    try:
        return call(*arguments) if call else None
    except nvml.NVMLError:
        return None


def _processes(nvml: Any, handle: Any) -> tuple[Process, ...]:
    found = {}
    for kind in ("Compute", "Graphics"):
        for item in _ask(nvml, f"nvmlDeviceGet{kind}RunningProcesses", handle) or ():
            memory = None if item.usedGpuMemory is None else int(item.usedGpuMemory)
            found[item.pid] = Process(item.pid, _process_name(nvml, item.pid), memory)
    return tuple(sorted(found.values(), key=lambda process: -(process.memory or 0)))


def _process_name(nvml: Any, pid: int) -> str:
    name = _ask(nvml, "nvmlSystemGetProcessName", pid)
    if name:
        return Path(_text(name)).name
    try:  # the process of another user
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "unknown, perhaps in another container"


def _slices(nvml: Any, handle: Any) -> tuple[MigSlice, ...]:
    found = []
    for index in range(_ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        part = _ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
        memory = part and _ask(nvml, "nvmlDeviceGetMemoryInfo", part)
        if memory:
            name = _text(_ask(nvml, "nvmlDeviceGetName", part) or f"instance {index}")
            found.append(MigSlice(name, int(memory.total), int(memory.free)))
    return tuple(found)


def _reasons(bits: int | None) -> tuple[str, ...]:
    return tuple(name for bit, name in _REASONS.items() if bits and bits & bit)


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _text(value: str | bytes) -> str:
    """Old versions of pynvml give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
