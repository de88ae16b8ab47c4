"""``mssctl bench``: how fast this machine is."""

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.render import aligned, count
from mssctl.cli.session import Session
from mssctl.options.base import refuse
from mssctl.options.bench import BenchOptions
from mssctl.results.bench import BenchComparison, ScanBench, StepBench

Preset = Annotated[
    str | None,
    typer.Argument(
        help="Bundled preset, or path of a YAML file; base on a GPU, starter elsewhere.",
        metavar="[PRESET]",
    ),
]
Compare = Annotated[
    tuple[Path, Path] | None,
    typer.Option("--compare", help="Compare two --json results; runs nothing."),
]


# Of `BenchOptions`, those that neither the scan nor a comparison reads.
_MEASURING = ("steps", "warmup", "overrides", "data", "memory", "profile")


@command(BenchOptions)
def bench_command(
    ui: Session, options: BenchOptions, *, preset: Preset = None, compare: Compare = None
) -> None:
    """Measure how fast this machine trains, separates or reads, with the trainer's own step."""
    if compare is not None:
        refuse(options, "--compare", _MEASURING)
        from mssctl.benchmark.compare import compare as set_beside

        ui.show(set_beside(*compare), comparison_text)
    elif options.mode == "scan":
        refuse(options, "--mode scan", _MEASURING)
        from mssctl.benchmark.scan import bench_scan

        chosen, batch = preset or "bsmamba2", options.batch or 1
        found = bench_scan(chosen, device=options.device, batch=batch, report=ui.report)
        ui.show(found, scan_text)
    else:
        from mssctl.api.bench import bench

        ui.show(bench(preset, options, report=ui.report), steps_text)


_UNITS = {
    "seconds": "s a step, median",
    "seconds_p10": "s, tenth percentile",
    "seconds_p90": "s, ninetieth percentile",
    "speed": "s of audio a second",
    "allocated_gib": "GiB allocated",
    "reserved_gib": "GiB reserved",
    "resident_gib": "GiB resident",
    "tflop_rate": "TFLOP/s",
    "utilisation": "% utilization",
    "power": "W",
}


def steps_text(result: StepBench) -> str:
    """What a step takes."""
    where = result.environment["gpu"] or result.environment["cpu"]
    per = "s of audio a second" if result.mode != "separate" else "x real time"
    rows = [
        ["preset", f"{result.preset}, mode {result.mode}"],
        ["on", f"{result.device}: {where}, {result.environment['threads']} threads"],
        ["step", f"{_time(result.seconds)} median of {result.steps} after {result.warmup}"],
        ["", f"{_time(result.seconds_p10)} to {_time(result.seconds_p90)} for four fifths of them"],
        ["", f"{_time(result.seconds_least)} least"],
        ["speed", f"{result.speed:.2f} {per}"],
    ]
    if result.shares:
        rows.append(["parts", ", ".join(f"{p} {s:.0%}" for p, s in result.shares.items())])
    rows += _memory(result)
    if result.tflop is not None and result.tflop_rate is not None:
        use = f", {result.tflop_rate / result.full_rate:.0%} of" if result.full_rate else ""
        whole = f"{use} {result.full_rate:.3g} of {result.full_rate_of}" if use else ""
        words = f"{result.tflop:.3g} TFLOP a step, {result.tflop_rate:.3g} TFLOP/s{whole}"
        rows.append(["arithmetic", words])
    if result.utilisation is not None:
        watts = f", {result.power:.0f} W" if result.power is not None else ""
        rows.append(["GPU", f"{result.utilisation:.0f} % utilization{watts}"])
    text = aligned(["", ""], rows)
    if not result.operators:
        return text
    table = [
        [op.name, f"{op.seconds * 1e3:.1f}", f"{op.share:.0%}", str(op.calls)]
        for op in result.operators
    ]
    head = [f"operator (trace: {result.trace})", "ms a step", "share", "calls"]
    return f"{text}\n{aligned(head, table, numbers=True)}"


def _memory(result: StepBench) -> list[list[str]]:
    if result.allocated_gib is not None:
        words = f"{result.allocated_gib:.2f} GiB allocated, {result.reserved_gib:.2f} reserved"
        if result.predicted_gib is not None:
            off = result.predicted_gib / result.allocated_gib - 1.0
            words += f"; plan says {result.predicted_gib:.2f} allocated ({off:+.1%})"
        return [["memory", words]]
    return [["memory", f"{result.resident_gib:.2f} GiB resident at most"]]


def comparison_text(result: BenchComparison) -> str:
    """Two measurements side by side."""
    rows = [
        [_UNITS[item.name], f"{item.first:.4g}", f"{item.second:.4g}", f"{item.ratio:.2f} x"]
        for item in result.numbers
    ]
    head = [f"mode {result.mode}", "first", "second", "ratio"]
    different = [
        f"differs: {key}: {one} against {two}\n" for key, (one, two) in result.differs.items()
    ]
    names = f"first: {result.first}\nsecond: {result.second}\n"
    return names + aligned(head, rows, numbers=True) + "".join(different)


def scan_text(result: ScanBench) -> str:
    """The ways to compute the scan."""
    shape = ", ".join(f"{name} {size}" for name, size in result.shape.items())
    rows = [
        [
            timing.backend,
            "" if timing.chunk_size is None else str(timing.chunk_size),
            f"{timing.seconds:.4f}",
            f"{timing.speedup:.1f} x",
            f"{timing.error:.1e}",
        ]
        for timing in result.timings
    ]
    head = ["backend", "chunk", "seconds", "of loop", "error"]
    lines = [
        f"{result.preset} on {result.device} ({result.machine}), torch {result.torch}, "
        + count(result.threads, "thread"),
        f"{shape}; forward and backward",
        aligned(head, rows, numbers=True).rstrip("\n"),
        *(f"left out: {reason}" for reason in result.left_out),
    ]
    return "".join(f"{line}\n" for line in lines)


def _time(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 1.0 else f"{seconds * 1e3:.1f} ms"
