"""What `mssctl plan` gives."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryShare:
    """Memory by purpose or module at the peak, GiB."""

    name: str
    gib: float


@dataclass(frozen=True)
class LargeTensor:
    """A tensor among the largest of a step, and what made it."""

    gib: float
    shape: list[int]
    dtype: str
    operation: str
    where: str


@dataclass(frozen=True)
class Remedy:
    """A change of the settings, and the memory needed with it, by the closed form."""

    change: str
    gib: float


@dataclass(frozen=True)
class PlannedRun:
    """A way to run a preset, and what it needs.

    Attributes:
        preset: name.
        mode: ``train`` or ``separate``.
        batch_size: examples or segments at a time; 0 if not even one fits.
        accumulation: micro-batches per optimizer step.
        checkpointing: ``none``, ``block`` or ``path``.
        segment_seconds: of one example.
        dtype: inside the model.
        parameters: of the model.
        peak_gib: what the card must have free: allocated memory and CUDA's context.
        headroom_gib: what is left of the card.
        fits: None when no card is known.
        risk: in words.
        confirmed: by running the step on fake tensors; otherwise by the closed form.
    """

    preset: str
    mode: str
    batch_size: int
    accumulation: int
    checkpointing: str
    segment_seconds: float
    dtype: str
    parameters: int
    peak_gib: float
    headroom_gib: float | None
    fits: bool | None
    risk: str
    confirmed: bool


@dataclass(frozen=True)
class PlanResult:
    """What ``plan PRESET`` predicts.

    Attributes:
        run: what was asked for.
        gpu: name of the card, if one is known.
        vram_gib: its free memory.
        allocated_gib: of the peak, what PyTorch's allocator counts.
        reserved_gib: what it asks of the driver at most.
        peak_at: the operation at the peak, and where.
        attention: kernels that run.
        components: the peak by purpose.
        modules: the peak by part of the model.
        tensors: the largest single tensors.
        notes: explanations.
        remedies: what to change if it does not fit, the first thing first.
        largest_batch: that fits; None when no card is known.
        next_gib: what one more would need.
        command: to run it.
        written: preset file that was written.
    """

    run: PlannedRun
    gpu: str | None
    vram_gib: float | None
    allocated_gib: float
    reserved_gib: float
    peak_at: str
    attention: list[str]
    components: list[MemoryShare]
    modules: list[MemoryShare]
    tensors: list[LargeTensor]
    notes: list[str]
    remedies: list[Remedy]
    largest_batch: int | None
    next_gib: float | None
    command: str
    written: str | None


@dataclass(frozen=True)
class PartTraffic:
    """What one part of a training step costs.

    Attributes:
        name: of the part.
        gigabytes: read and written, 10^9 bytes.
        tflop: of products, convolutions and attentions.
        kernels: operations that launch a kernel.
        operations: those, views and allocations.
        kept_mib: per example, alive when the backward pass starts.
    """

    name: str
    gigabytes: float
    tflop: float
    kernels: int
    operations: int
    kept_mib: float


@dataclass(frozen=True)
class TrafficResult:
    """What ``plan PRESET --explain traffic`` counts of one micro-batch, by part, largest first."""

    preset: str
    batch_size: int
    segment_seconds: float
    dtype: str
    checkpointing: str
    parts: list[PartTraffic]
    total: PartTraffic


@dataclass(frozen=True)
class PlanTable:
    """Every preset on one card, and the one to take.

    ``next_gib``: what one example more needs; ``left_out``: presets that `plan NAME` answers for.
    """

    gpu: str | None
    vram_gib: float
    runs: list[PlannedRun]
    pick: str | None
    reason: str
    next_gib: float | None
    command: str | None
    written: str | None
    left_out: list[str]


@dataclass(frozen=True)
class ComparedPreset:
    """A preset among the others.

    ``tokens`` per example, None where blocks see different numbers of them; ``tflop`` per optimizer
    step; ``step_seconds`` and ``speed`` (x real time in training) by a roofline, None without a
    card: estimates, not measurements.
    """

    preset: str
    settings: dict[str, str]
    parameters: int
    tokens: int | None
    components: list[MemoryShare]
    peak_gib: float
    tflop: float
    step_seconds: float | None
    speed: float | None


@dataclass(frozen=True)
class PlanComparison:
    """Presets side by side, as they are; ``left_out``: those that only `plan NAME` answers for."""

    gpu: str | None
    presets: list[ComparedPreset]
    left_out: list[str]


@dataclass(frozen=True)
class CheckedPrediction:
    """Predicted and measured ``torch.cuda.max_memory_allocated`` of one configuration, GiB."""

    name: str
    predicted_gib: float
    measured_gib: float

    @property
    def error(self) -> float:
        """Of the prediction, as a fraction of the measurement."""
        return self.predicted_gib / self.measured_gib - 1.0


@dataclass(frozen=True)
class PlanVerification:
    """What ``plan --verify`` measured."""

    gpu: str
    torch: str
    checks: list[CheckedPrediction]
