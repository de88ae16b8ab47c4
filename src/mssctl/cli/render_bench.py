"""How results of ``mssctl bench`` look as text."""

from __future__ import annotations

from mssctl.cli.render import aligned, as_text
from mssctl.results.bench import BenchComparison, StepBench

_UNITS = {
    "seconds": "s a step, median",
    "seconds_p10": "s, tenth percentile",
    "seconds_p90": "s, ninetieth percentile",
    "speed": "s of audio a second",
    "allocated_gib": "GiB allocated",
    "reserved_gib": "GiB reserved",
    "resident_gib": "GiB resident",
    "tflop_rate": "TFLOP/s",
    "utilisation": "% utilisation",
    "power": "W",
}


@as_text.register
def _(result: StepBench) -> str:
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
        rows.append(["GPU", f"{result.utilisation:.0f} % utilisation{watts}"])
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


@as_text.register
def _(result: BenchComparison) -> str:
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


def _time(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 1.0 else f"{seconds * 1e3:.1f} ms"
