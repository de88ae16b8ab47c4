"""One frozen dataclass per command: the result of the Python call and the shape of ``--json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class FileFailure:
    """An input that could not be processed, and why."""

    path: str
    error: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True)
class SeparatedSong:
    """One song split into stems.

    Attributes:
        path: the input file.
        stems: stem name -> file written.
        seconds: length of the audio.
        sample_rate: of input and outputs, Hz.
        channels: of input and outputs.
        speed: seconds of audio per second of computing.
        notes: what was done to the audio on the way (resampled, downmixed, rescaled ...).
    """

    path: str
    stems: dict[str, str]
    seconds: float
    sample_rate: int
    channels: int
    speed: float
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SeparateResult:
    """What ``separate`` wrote and what it could not."""

    model: str
    device: str
    dtype: str
    songs: list[SeparatedSong]
    failures: list[FileFailure]


@dataclass(frozen=True)
class TrainResult:
    """How a training run ended. ``finished`` is False when it was interrupted."""

    run: str
    step: int
    epoch: int
    finished: bool
    best_score: float | None
    best_metric: str
    checkpoint: str
    model: str | None  # exported weights for `separate`, once something was validated
    seconds: float


@dataclass(frozen=True)
class DryRunResult:
    """What ``train --dry-run`` found; nothing was written. ``receipt`` says what is in force."""

    run: str  # where the run would go
    training_songs: int
    validation_songs: int
    steps: int
    effective_batch: int
    loss: float  # of the first step
    seconds: float  # of the first step, without reading the audio
    peak_gib: float | None  # None without a GPU
    receipt: dict[str, Any]


@dataclass(frozen=True)
class Score:
    """One metric: of the estimate, of the unprocessed mixture, and the difference.

    The last two are None where there is no mixture.
    """

    estimate: float
    mixture: float | None
    improvement: float | None


@dataclass(frozen=True)
class StemScore:
    """Scores of one stem of one track: metric -> score."""

    track: str
    stem: str
    metrics: dict[str, Score]


@dataclass(frozen=True)
class Spread:
    """Distribution over tracks of a stem's median over frames, dB; ``frames`` that are defined."""

    median: float
    mean: float
    lower_quartile: float
    upper_quartile: float
    tracks: int
    frames: int


@dataclass(frozen=True)
class EvalResult:
    """Scores of a model on reference tracks.

    Attributes:
        model: name of the model (``sha256`` of its weights file), of the folder of estimates, or
            of the oracle.
        device: where it ran, and ``dtype`` in force inside it; empty without a model.
        reference: folder of the reference tracks; ``tracks`` of them were scored.
        definitions: metric -> what it is, in words.
        settings: how the songs were cut.
        means: stem (and ``mean``, the mean over stems) -> metric -> mean over tracks; of cSDR the
            median.
        counts: stem -> tracks its mean is over.
        scores: every stem of every track.
        skipped: stems left out, and why (silent reference, no reference file).
        notes: what had to be decided on the way, e.g. a mixture made as the sum of the stems.
        marks: why the scores must not be read as others', e.g. trained on these tracks.
        passport: what the scores depend on beside the audio; ``bsseval`` in it is empty if that
            was not asked for.
        bsseval: stem -> metric of BSSEval v4 -> its distribution over tracks.
        medians: track -> stem -> metric of BSSEval -> median over its frames.
        ill_conditioned: tracks whose ISR, SIR and SAR are not defined to 1e-3 dB.
        out: folder of the tracks' documents, if any was asked for.
        per_track: whether to show every track.
    """

    model: str
    sha256: str
    device: str
    dtype: str
    reference: str
    tracks: int
    definitions: dict[str, str]
    settings: dict[str, str | int | float | bool]
    means: dict[str, dict[str, Score]]
    counts: dict[str, int]
    scores: list[StemScore]
    skipped: list[str]
    notes: list[str]
    marks: list[str] = field(default_factory=list)
    passport: dict[str, Any] = field(default_factory=dict)
    bsseval: dict[str, dict[str, Spread]] = field(default_factory=dict)
    medians: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    ill_conditioned: list[str] = field(default_factory=list)
    out: str | None = None
    per_track: bool = False


@dataclass(frozen=True)
class PairedDifference:
    """A result less the first one, over the ``tracks`` that both have.

    ``low`` and ``high`` bound 95 % of the mean's bootstrap distribution over tracks; ``wins`` is
    the number of tracks on which the result is better.
    """

    stem: str
    metric: str
    mean: float
    median: float
    low: float
    high: float
    wins: int
    tracks: int


@dataclass(frozen=True)
class ComparedResult:
    """One result beside the first: its differences, and the tracks that only one of both has.

    ``left_out`` says which differences would mean nothing, and why.
    """

    name: str
    differences: list[PairedDifference]
    left_out: list[str]
    only_here: list[str]
    missing: list[str]


@dataclass(frozen=True)
class EvalComparison:
    """Results of ``mssctl eval`` beside the ``first``; ``resamples`` of the bootstrap."""

    first: str
    others: list[ComparedResult]
    definitions: dict[str, str]
    resamples: int


@dataclass(frozen=True)
class SynthResult:
    """What ``data synth`` wrote: songs per split, seconds of audio in all."""

    out: str
    songs: int
    seconds: float
    splits: dict[str, int]
    seed: int
    samples: str | None


@dataclass(frozen=True)
class CheckedRoot:
    """One data folder: split -> songs (or samples), and split -> stem -> hours of audio."""

    path: str
    layout: str
    songs: dict[str, int]
    hours: dict[str, dict[str, float]]


@dataclass(frozen=True)
class DataFinding:
    """Something to know about a song that training works with all the same.

    ``kind``: ``missing`` (stem), ``length`` (unequal), ``mixture`` (not the sum of the stems),
    ``silent``, ``clipped`` or ``duplicate`` (within a split).
    """

    kind: str
    split: str
    song: str
    path: str
    message: str


@dataclass(frozen=True)
class DataCheckResult:
    """What ``data check`` found.

    Attributes:
        roots: the folders.
        songs: how many songs or samples can be read to the end.
        findings: what should be known.
        failures: unreadable files, other sample rates or channels, and audio in two splits.
        skipped: sentences on what is not part of the set.
    """

    roots: list[CheckedRoot]
    songs: int
    findings: list[DataFinding]
    failures: list[FileFailure]
    skipped: list[str]


@dataclass(frozen=True)
class ModelEntry:
    """A model that ``separate`` can use. ``sha256`` is that of the weights file."""

    name: str
    path: str
    architecture: str
    stems: list[str]
    sample_rate: int
    channels: int
    parameters: int
    licence: str
    sha256: str


@dataclass(frozen=True)
class ModelList:
    """The models at hand."""

    models: list[ModelEntry]


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
        full_rate: of ``full_rate_of``, likewise per second.
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

    ``tokens`` per example; ``tflop`` per optimizer step; ``step_seconds`` and ``speed`` (x real
    time in training) by a roofline, None without a card: estimates, not measurements.
    """

    preset: str
    settings: dict[str, str]
    parameters: int
    tokens: int
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


State = Literal["ok", "note", "warning", "failed", "crashed"]


@dataclass(frozen=True)
class Finding:
    """What one check of ``doctor`` says: one line of the report.

    Attributes:
        name: what was looked at.
        state: ``ok``; ``note``, good to know; ``warning``, something will be slow or may go wrong;
            ``failed``, something will not work; ``crashed``, the check itself gave no answer.
        summary: what was found.
        remedy: what to do about it; None if and only if the state is ``ok``.
        details: more of what was found.
    """

    name: str
    state: State
    summary: str
    remedy: str | None = None
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DoctorResult:
    """What ``doctor`` found.

    Attributes:
        mssctl: version.
        findings: in the order of the checks.
        fit: nothing has failed or crashed.
        seconds: that the report took.
    """

    mssctl: str
    findings: list[Finding]
    fit: bool
    seconds: float
