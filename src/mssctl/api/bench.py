"""``mssctl bench``: how fast this machine trains, separates, and reads a data set."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from mssctl import presets
from mssctl.benchmark.clock import Clock, Watch, spread
from mssctl.benchmark.environment import environment, matmul_rate
from mssctl.benchmark.trace import profiled
from mssctl.benchmark.work import Mode, Work, work_of
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Progress, Reporter, silent
from mssctl.files import check_new
from mssctl.hardware.device import choose_device
from mssctl.planning.cards import card_in
from mssctl.planning.fit import GIB
from mssctl.results.bench import StepBench

ON_CPU = "starter"  # a step takes about two seconds on two cores
ON_GPU = "base"
_PARTS = 3  # more steps, for the shares of their parts


def bench(
    preset: str | None = None,
    *,
    mode: Mode = "train",
    steps: int = 50,
    warmup: int = 3,
    device: str = "auto",
    batch: int | None = None,
    overrides: Sequence[str] = (),
    data: Path | str | None = None,
    memory: float | None = None,
    profile: Path | str | None = None,
    report: Reporter = silent,
) -> StepBench:
    """Measure steps of a preset.

    Args:
        preset: bundled name or path of a YAML file; None: ``base`` on a GPU, ``starter`` elsewhere.
        mode: ``train``: the trainer's own step, on noise or on the examples of ``data``;
            ``separate``: a song of four segments of noise per step; ``loader``: the examples of
            a training step per step, without a model.
        steps: measured.
        warmup: steps before them that are not.
        device: ``auto``, ``cpu``, ``cuda`` ...
        batch: examples, or segments, at once; None as in the preset.
        overrides: ``section.key=value``.
        data: songs; without them ``train`` takes noise that is already there, and ``loader``
            makes a few songs up.
        memory: GiB that the process may take of the GPU's.
        profile: file for a trace that browsers open (chrome://tracing, Perfetto), of two more
            steps; the result then has the operators that took longest.
        report: is told what happens.

    Raises:
        MssctlError: no such preset or device, a trace that cannot be written, or out of memory.
    """
    if mode == "loader" and device not in ("auto", "cpu"):
        raise MssctlError(
            f"--device {device} does nothing in mode loader: examples are read on the CPU",
            exit_code=ExitCode.USAGE,
        )
    chosen = choose_device(device).device
    if preset is None:
        preset = ON_GPU if chosen.type == "cuda" else ON_CPU
        report(Notice(f"preset {preset}: the default on {chosen.type}"))
    if mode == "loader":
        chosen = torch.device("cpu")
    if batch is not None:
        section = "separation" if mode == "separate" else "training"
        overrides = [*overrides, f"{section}.batch_size={batch}"]
    config = presets.load(preset, overrides)
    if data is not None and mode == "separate":
        raise MssctlError("--data does nothing in mode separate", exit_code=ExitCode.USAGE)
    if profile is not None:
        check_new(Path(profile))
    if memory is not None:
        _cap(memory, chosen)
    try:
        with work_of(mode, config, chosen, data, report) as work:
            return _measure(work, preset, mode, chosen, steps, warmup, profile, report)
    except torch.OutOfMemoryError:
        raise MssctlError(
            f"{preset}, batch {config.training.batch_size}: memory ran out",
            hint=f"`mssctl plan {preset}` says what to change; a smaller --batch needs less",
        ) from None


def _cap(memory: float, device: torch.device) -> None:
    """Let the process take ``memory`` GiB of a GPU."""
    if device.type != "cuda":
        raise MssctlError(
            f"--memory caps a GPU, and this is {device.type}", exit_code=ExitCode.USAGE
        )
    if not memory > 0.0:
        raise MssctlError("--memory is GiB above 0", exit_code=ExitCode.USAGE)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, memory * GIB / total), device)


def _measure(
    work: Work,
    preset: str,
    mode: Mode,
    device: torch.device,
    steps: int,
    warmup: int,
    profile: Path | str | None,
    report: Reporter,
) -> StepBench:
    clock = Clock(device)
    total = warmup + steps
    marks = []
    with Watch(device) as watch:
        for number in range(total):
            report(Progress("bench", number, total, "steps"))
            if number == warmup:
                clock.wait()
                watch.samples.clear()
                if clock.cuda:
                    torch.cuda.reset_peak_memory_stats(device)
            start = clock.now()
            examples = work.read()
            there = clock.now()
            work.step(examples)
            marks.append((start, there, clock.now()))
        clock.wait()
    report(Progress("bench", total, total, "steps"))
    measured = marks[warmup:]
    seconds = [clock.between(start, end) for start, _, end in measured]
    waited = sum(clock.between(start, there) for start, there, _ in measured) / sum(seconds)
    times = spread(seconds)
    cuda = device.type == "cuda"
    resident = None if cuda else _resident()
    allocated = torch.cuda.max_memory_allocated(device) / GIB if cuda else None
    reserved = torch.cuda.max_memory_reserved(device) / GIB if cuda else None
    flops, predicted, rate, whose = _arithmetic(work, device, report)
    return StepBench(
        preset=preset,
        mode=mode,
        device=str(device),
        steps=steps,
        warmup=warmup,
        seconds=times.median,
        seconds_p10=times.p10,
        seconds_p90=times.p90,
        seconds_least=times.least,
        audio_seconds=work.audio,
        speed=work.audio / times.median,
        shares=_shares(work, clock, waited),
        allocated_gib=allocated,
        reserved_gib=reserved,
        predicted_gib=predicted,
        resident_gib=resident,
        tflop=flops,
        tflop_rate=flops / times.median if flops else None,
        full_rate=rate,
        full_rate_of=whose,
        utilisation=watch.mean("utilisation"),
        power=watch.mean("power"),
        clock=watch.mean("clock"),
        operators=[]
        if profile is None
        else profiled(lambda: work.step(work.read()), device, Path(profile)),
        trace=None if profile is None else str(profile),
        environment=environment(device, work.receipt),
    )


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
        report(Notice(f"no prediction beside the measurement: {reason}", level="warning"))
        return None, None, None, None
    if not cuda:
        return (
            found.tflop,
            None,
            matmul_rate(device, work.dtype),
            f"a {work.dtype} matrix product here",
        )
    predicted = found.peak.allocated / GIB
    card = card_in(torch.cuda.get_device_name(device))
    if card is None or work.dtype != "bfloat16":
        return found.tflop, predicted, None, None
    return found.tflop, predicted, card.bf16, f"{card.name}'s bf16"


def _resident() -> float:
    """Peak of the process's memory so far, GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
