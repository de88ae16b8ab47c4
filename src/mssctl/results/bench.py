"""What `mssctl bench` gives."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ScanTiming:
    """One way to run the scan, forward and backward.

    Attributes:
        backend: ``loop`` over time steps, ``torch``, ``compiled`` or ``mamba_ssm``.
        chunk_size: steps per chunk; None for the loop.
        seconds: the least of some runs.
        speedup: over the loop.
        error: the largest relative error among output and gradients, against float64.
    """

    backend: str
    chunk_size: int | None
    seconds: float
    speedup: float
    error: float


@dataclass(frozen=True)
class ScanBench:
    """What ``bench --mode scan`` measured; ``left_out`` says what it could not, and why."""

    preset: str
    device: str
    machine: str
    threads: int
    torch: str
    shape: dict[str, int]
    timings: list[ScanTiming]
    left_out: list[str]


@dataclass(frozen=True)
class OperatorTime:
    """Seconds per step that an operator takes itself, its share of all, and how often it runs."""

    name: str
    seconds: float
    share: float
    calls: int


@dataclass(frozen=True)
class StepBench:
    """What ``bench`` measured, over ``steps`` after ``warmup``.

    Attributes:
        seconds: of a step, median; ``seconds_p10``, ``seconds_p90`` and ``seconds_least`` too.
        audio_seconds: of audio that go through a step; ``speed`` of them per second.
        shares: part of a training step -> its share of the time.
        allocated_gib: most that tensors took of a GPU, and ``reserved_gib`` of the driver's.
        predicted_gib: what ``plan`` says for ``allocated_gib``.
        resident_gib: most that the process took of main memory, without a GPU.
        tflop: 10^12 operations of a step, by the planner; ``tflop_rate`` of them per second.
        full_rate: of ``full_rate_of``, per second, too.
        utilisation: of the GPU, per cent; ``power`` in W, ``clock`` in MHz: means by NVML.
        operators: that took longest, and the ``trace`` they are from, with ``--profile``.
        environment: versions, machine, and what was in force.
    """

    preset: str
    mode: str
    device: str
    steps: int
    warmup: int
    seconds: float
    seconds_p10: float
    seconds_p90: float
    seconds_least: float
    audio_seconds: float
    speed: float
    shares: dict[str, float]
    allocated_gib: float | None
    reserved_gib: float | None
    predicted_gib: float | None
    resident_gib: float | None
    tflop: float | None
    tflop_rate: float | None
    full_rate: float | None
    full_rate_of: str | None
    utilisation: float | None
    power: float | None
    clock: float | None
    operators: list[OperatorTime]
    trace: str | None
    environment: dict[str, Any]


@dataclass(frozen=True)
class ComparedNumber:
    """A number in two results, and the second over the first."""

    name: str
    first: float
    second: float
    ratio: float


@dataclass(frozen=True)
class BenchComparison:
    """Two results of ``bench``, and what ``differs`` between where they were made."""

    first: str
    second: str
    mode: str
    numbers: list[ComparedNumber]
    differs: dict[str, list[str]]
