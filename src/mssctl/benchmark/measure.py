"""Measures steps: times, memory, shares, how near the machine's best; and describes the machine."""

import platform
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mssctl.benchmark.clock import Clock, Watch, least_seconds, percentile
from mssctl.benchmark.work import Work
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Progress, Reporter
from mssctl.files import FileSet
from mssctl.hardware import nvml
from mssctl.hardware.device import AMP_DTYPES, autocast
from mssctl.hardware.machine import GIB, peak_memory
from mssctl.options.bench import BenchOptions
from mssctl.planning.target import card_in
from mssctl.results.bench import OperatorTime, StepBench
from mssctl.training.environment import installed, versions

STEPS, WARMUP = 50, 3
_OPERATORS = 10  # in the table of a profile
_PARTS = 3  # more steps, for the shares of their parts


def measure_steps(
    work: Work, preset: str, device: torch.device, options: BenchOptions, report: Reporter
) -> StepBench:
    """Do the steps, and describe them.

    Args:
        work: what a step is.
        preset: its name, for the result.
        device: that it computes on.
        options: how many steps, and whether they are profiled.
        report: receives the progress.
    """
    clock, watch = Clock(device), Watch(device)
    steps = STEPS if options.steps is None else options.steps
    warmup = WARMUP if options.warmup is None else options.warmup
    profile = None if options.profile is None else Path(options.profile)
    measured = _marks(work, clock, watch, (warmup, steps), report)
    seconds = [clock.between(start, end) for start, _, end in measured]
    waited = sum(clock.between(start, there) for start, there, _ in measured) / sum(seconds)
    median = statistics.median(seconds)
    # Before the planner, which runs the model's code once more.
    cuda = device.type == "cuda"
    resident = None if cuda else peak_memory() / GIB
    allocated = torch.cuda.max_memory_allocated(device) / GIB if cuda else None
    reserved = torch.cuda.max_memory_reserved(device) / GIB if cuda else None
    flops, predicted, rate, whose = _arithmetic(work, device, report)
    return StepBench(
        preset=preset,
        mode=options.mode,
        device=str(device),
        steps=steps,
        warmup=warmup,
        seconds=median,
        seconds_p10=percentile(seconds, 0.1),
        seconds_p90=percentile(seconds, 0.9),
        seconds_least=min(seconds),
        audio_seconds=work.audio,
        speed=work.audio / median,
        shares=_shares(work, clock, waited),
        allocated_gib=allocated,
        reserved_gib=reserved,
        predicted_gib=predicted,
        resident_gib=resident,
        tflop=flops,
        tflop_rate=flops / median if flops else None,
        full_rate=rate,
        full_rate_of=whose,
        utilisation=watch.mean("utilisation"),
        power=watch.mean("power"),
        clock=watch.mean("clock"),
        operators=profiled(lambda: work.step(work.read()), device, profile) if profile else [],
        trace=None if profile is None else str(profile),
        environment=environment(device, work.receipt),
    )


def _marks(
    work: Work, clock: Clock, watch: Watch, counts: tuple[int, int], report: Reporter
) -> list[tuple[Any, Any, Any]]:
    """Start, data there, and end of each measured step, after the warm-up."""
    warmup, steps = counts
    total = warmup + steps
    marks = []
    with watch:
        for number in range(total):
            report(Progress("bench", number, total, "steps"))
            if number == warmup:
                clock.wait()
                watch.samples.clear()
                if clock.cuda:
                    torch.cuda.reset_peak_memory_stats()
            start = clock.now()
            examples = work.read()
            there = clock.now()
            work.step(examples)
            marks.append((start, there, clock.now()))
        clock.wait()
    report(Progress("bench", total, total, "steps"))
    return marks[warmup:]


def _shares(work: Work, clock: Clock, waited: float) -> dict[str, float]:
    """Where the time goes: the wait as measured, the rest from steps that are looked into.

    Looking costs time, so those are steps of their own; and before them, readers that run ahead
    have had time to do so.
    """
    if work.parts is None:
        return {}
    parts = work.parts(clock)
    try:
        for _ in range(_PARTS):
            examples = work.read()
            with parts.step():
                work.step(examples)
        shares = parts.shares()
    finally:
        parts.remove()
    return {"data wait": waited} | {part: (1 - waited) * x for part, x in shares.items()}


def _arithmetic(
    work: Work, device: torch.device, report: Reporter
) -> tuple[float | None, float | None, float | None, str | None]:
    """TFLOP of a step and its peak by the planner; TFLOP/s of the machine, and of what.

    What was measured is kept, whatever the planner does.
    """
    if work.predict is None:
        return None, None, None, None
    cuda = device.type == "cuda"
    try:
        found = work.predict(torch.cuda.get_device_capability(device) if cuda else (9, 0))
    except Exception as error:  # noqa: BLE001 (it runs the model's code in a way of its own)
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        report(Notice(f"no prediction for this measurement: {reason}", level="warning"))
        return None, None, None, None
    if not cuda:
        rate = matmul_rate(device, work.dtype)
        return found.tflop, None, rate, f"a {work.dtype} matrix product here"
    predicted = found.peak.allocated / GIB
    card = card_in(torch.cuda.get_device_name(device))
    if card is None or work.dtype != "bfloat16":
        return found.tflop, predicted, None, None
    return found.tflop, predicted, card.bf16, f"{card.name}'s bf16"


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
        return 2.0 * size**3 / least_seconds(lambda: a @ a, 4, device) / 1e12
