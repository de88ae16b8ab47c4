"""What `mssctl train` and `resume` give."""

from dataclasses import dataclass
from typing import Any


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
    peak_gib: float | None  # allocated in a step after the first; None without a GPU
    receipt: dict[str, Any]
    predicted_gib: float | None = None  # of ``peak_gib``
