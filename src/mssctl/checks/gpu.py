"""Checks of the NVIDIA driver and of each GPU, by what NVML says."""

from collections.abc import Iterator

from mssctl.checks.findings import failed, gib, needs_gpu, note, ok, warning
from mssctl.hardware import nvml
from mssctl.hardware.builds import (
    OLDEST_DRIVER,
    architecture,
    cuda_build_for,
    driver_runs,
    install_line,
    runs_on,
)
from mssctl.hardware.machine import GIB
from mssctl.hardware.nvml import Gpu, NvmlError
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import Finding

HOT = 85  # °C, where the GPU does not say at which temperature it slows down
SMALL = 7.0 * GIB
BUSY = 10  # per cent
DESKTOP = 0.5 * GIB  # what a desktop may hold
MUCH = 2.0 * GIB

REMEDIES: dict[nvml.Trouble, str] = {
    "package": "pip install nvidia-ml-py",
    "not_loaded": "the driver is installed, not loaded: reboot, or `sudo modprobe nvidia`",
    "mismatch": "the driver was updated while in use: reboot",
    "permission": "this user or container may not use the GPU: start it with GPU access",
    "other": "run `nvidia-smi`; if that fails too, reboot or install the driver again",
}


def driver(settings: DoctorOptions) -> Iterator[Finding]:
    """Whether there is a driver at all."""
    name = "NVIDIA driver"
    try:
        found = nvml.driver()
    except NvmlError as error:
        if error.trouble == "no_driver":
            yield needs_gpu(
                settings,
                name,
                "none: everything runs on the CPU",
                "to use an NVIDIA GPU install its driver, or give it to this container",
            )
        else:
            yield failed(name, str(error), REMEDIES[error.trouble])
        return
    yield ok(name, f"{found.version}, for CUDA up to {found.cuda[0]}.{found.cuda[1]}")


def gpus(settings: DoctorOptions) -> Iterator[Finding]:
    """Memory, health, link and sharing of each GPU."""
    try:
        found = nvml.gpus()
    except NvmlError as error:
        if error.trouble == "no_driver":
            yield needs_gpu(settings, "GPUs", "none", "see the NVIDIA driver above")
        else:
            yield failed("GPUs", str(error), REMEDIES[error.trouble])
        return
    if not found:
        yield needs_gpu(settings, "GPUs", "the driver sees none", "check that it is seated and on")
    for gpu in found:
        if gpu.error:
            summary = f"cannot be read: {gpu.error}"
            yield failed(f"GPU {gpu.index}", summary, "reboot; if it persists, the card is damaged")
        else:
            yield from (_memory(gpu), _health(gpu), _link(gpu), _sharing(gpu))


def _memory(gpu: Gpu) -> Finding:
    name = f"GPU {gpu.index}"
    if gpu.total is None or gpu.free is None:
        remedy = "ask plan with --vram, or run where NVML may read it"
        return note(name, f"{gpu.name}, memory unavailable", remedy)
    summary = f"{gpu.name}, {gib(gpu.free)} free of {gib(gpu.total)}"
    holders = [_process(process) for process in gpu.processes]
    held = sum(process.memory or 0 for process in gpu.processes)
    details = [*holders, f"architecture {architecture(gpu.capability)}" if gpu.capability else ""]
    details = [line for line in details if line]
    free = gpu.free / GIB
    taken = gpu.total - gpu.free
    if holders and max(held, taken) > DESKTOP:
        remedy = f"end them, or plan with what is left: mssctl plan --vram {free:.1f}"
        say = warning if max(held, taken) > MUCH else note
        return say(name, f"{summary}; held by {', '.join(holders)}", remedy, details)
    if taken > MUCH:
        remedy = "a process that NVML does not show holds the rest: another container or user"
        return warning(name, summary, remedy, details)
    if gpu.total < SMALL:
        remedy = f"mssctl plan --vram {free:.1f} says which presets fit; ultra_safe is the smallest"
        return note(name, f"{summary}: a small card", remedy, details)
    return ok(name, summary, details)


def _process(process: nvml.Process) -> str:
    memory = "memory unavailable" if process.memory is None else gib(process.memory)
    return f"{process.name} (pid {process.pid}, {memory})"


def _health(gpu: Gpu) -> Finding:
    name = f"GPU {gpu.index} health"
    parts = [
        _said(gpu.temperature, "{} °C"),
        _said(gpu.power, "{:.0f} W") + _said(gpu.power_limit, " of {:.0f} W"),
        _said(gpu.clock, "{} MHz") + _said(gpu.clock_limit, " of {} MHz"),
        {True: "ECC on", False: "ECC off", None: ""}[gpu.ecc],
    ]
    summary = ", ".join(part for part in parts if part) or "no readings"
    reasons = ", ".join(gpu.throttle)
    details = [f"throttled by: {reasons or 'nothing'}"]
    if gpu.ecc_errors:
        remedy = "results may be wrong: reboot; if errors come back, the memory is damaged"
        return failed(name, f"{summary}, {gpu.ecc_errors} memory errors", remedy, details)
    hot = gpu.temperature is not None and gpu.temperature >= (gpu.temperature_limit or HOT)
    if hot or any(reason in gpu.throttle for reason in nvml.THERMAL):
        return warning(
            name, f"{summary}: too hot, clocks throttled", "improve its cooling", details
        )
    if gpu.throttle:
        remedy = "check power cables and supply"
        if gpu.throttle == ("power limit",):
            remedy = "no harm; a higher limit is faster: nvidia-smi -pl"
            return note(name, f"{summary}: clocks throttled by {reasons}", remedy, details)
        return warning(name, f"{summary}: clocks throttled by {reasons}", remedy, details)
    if gpu.power_limit and gpu.power_default and gpu.power_limit < 0.95 * gpu.power_default:
        remedy = f"nvidia-smi -pl {gpu.power_default:.0f} gives the card its usual power"
        return note(name, f"{summary}, below its usual {gpu.power_default:.0f} W", remedy, details)
    return ok(name, summary, details)


def _said(value: float | None, words: str) -> str:
    return "" if value is None else words.format(value)


def _link(gpu: Gpu) -> Finding:
    name = f"GPU {gpu.index} link"
    if gpu.pcie_width is None or gpu.pcie_generation is None:
        return note(
            name, "unavailable", "nothing to do: some GPUs and virtual machines do not report it"
        )
    # Idle GPUs lower the generation of the link to save power: only its width says something.
    summary = f"PCIe generation {gpu.pcie_generation} × {gpu.pcie_width}"
    if gpu.pcie_generation_limit and gpu.pcie_width_limit:
        summary += f" (at most {gpu.pcie_generation_limit} × {gpu.pcie_width_limit})"
    if gpu.pcie_width_limit and gpu.pcie_width < gpu.pcie_width_limit:
        remedy = "loading data is slower: put the card into a full slot, and seat it well"
        return note(name, f"{summary}: not all lanes in use", remedy)
    return ok(name, summary)


def _sharing(gpu: Gpu) -> Finding:
    name = f"GPU {gpu.index} sharing"
    details = [f"{part.name}: {gib(part.free)} free of {gib(part.total)}" for part in gpu.slices]
    if gpu.mig and not gpu.slices:
        remedy = "make an instance (nvidia-smi mig -cgi), or switch MIG off (nvidia-smi -mig 0)"
        return failed(name, "MIG is on and there is no instance to use", remedy)
    if gpu.mig:
        largest = max(gpu.slices, key=lambda part: part.total)
        count = f"{len(gpu.slices)} instance{'s' if len(gpu.slices) > 1 else ''}"
        summary = f"MIG is on: {count}, the largest {gib(largest.total)}"
        remedy = (
            "a process sees one of them; choose it with CUDA_VISIBLE_DEVICES, "
            f"and mssctl plan --vram {largest.free / GIB:.1f}"
        )
        return note(name, summary, remedy, details)
    if (gpu.utilisation or 0) >= BUSY:
        remedy = "timings will be off while others use it"
        return note(name, f"{gpu.utilisation} % busy", remedy)
    if gpu.display:
        remedy = "its memory is less, and long kernels delay the screen; nothing to do if it fits"
        return note(name, "a display is attached", remedy)
    return ok(name, f"{gpu.utilisation or 0} % busy, no display, no MIG")


def build(settings: DoctorOptions) -> Iterator[Finding]:
    """Whether this build of PyTorch goes with the driver and has code for each GPU."""
    import torch  # noqa: PLC0415 (a check of its own says whether that works)

    name, cuda = "CUDA build", torch.version.cuda
    try:
        found, cards = nvml.driver(), [gpu for gpu in nvml.gpus() if gpu.capability]
    except NvmlError:
        found, cards = None, []
    if found is None or not cards:
        summary = f"PyTorch for CUDA {cuda}" if cuda else "PyTorch without CUDA"
        yield needs_gpu(settings, name, f"{summary}, no GPU", "nothing to do for the CPU")
        return
    if cuda is None:
        build_name = cuda_build_for(max(gpu.capability or (0, 0) for gpu in cards))
        summary = f"PyTorch {torch.__version__} has no CUDA: the GPU lies idle"
        yield failed(name, summary, install_line(build_name))
        return
    if not driver_runs(found.cuda, cuda):
        major = int(cuda.partition(".")[0])
        remedy = (
            f"update the driver to {OLDEST_DRIVER.get(major, 'the newest')} or newer, "
            f"or {install_line(f'a build for CUDA {found.cuda[0]}')}"
        )
        summary = (
            f"driver {found.version} is too old: for CUDA {found.cuda[0]}, PyTorch needs {cuda}"
        )
        yield failed(name, summary, remedy)
        return
    built_for = (torch._C._cuda_getArchFlags() or "").split()
    for gpu in cards:
        assert gpu.capability is not None
        if not runs_on(gpu.capability, built_for):
            summary = (
                f"GPU {gpu.index} ({gpu.name}) is {architecture(gpu.capability)}; this PyTorch has "
                f"code for {', '.join(built_for)} only"
            )
            yield failed(name, summary, install_line(cuda_build_for(gpu.capability)))
            return
    names = ", ".join(sorted({architecture(gpu.capability) for gpu in cards if gpu.capability}))
    yield ok(name, f"CUDA {cuda}, driver {found.version}, code for {names}", [" ".join(built_for)])
