"""One frozen dataclass per command: the result of the Python call and the shape of ``--json``."""

from __future__ import annotations

from dataclasses import dataclass, field


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
class Score:
    """One metric in dB: of the estimate, of the unprocessed mixture, and the difference."""

    estimate: float
    mixture: float
    improvement: float


@dataclass(frozen=True)
class StemScore:
    """Scores of one stem of one track: metric -> score."""

    track: str
    stem: str
    metrics: dict[str, Score]


@dataclass(frozen=True)
class EvalResult:
    """Scores of a model on reference tracks.

    Attributes:
        model: name of the model, and ``sha256`` of its weights file.
        device: where it ran, and ``dtype`` in force inside it.
        reference: folder of the reference tracks; ``tracks`` of them were separated.
        definitions: metric -> what it is, in words.
        settings: how the songs were cut.
        means: stem (and ``mean``, the mean over stems) -> metric -> mean over tracks.
        counts: stem -> tracks its mean is over.
        scores: every stem of every track.
        skipped: stems left out, and why (silent reference, no reference file).
        notes: what had to be decided on the way, e.g. a mixture made as the sum of the stems.
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
