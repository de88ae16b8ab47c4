"""What a running task tells its caller: plain events, so that the core never prints.

The same events feed the progress bar, ``metrics.jsonl`` and any caller of the Python API.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` units of a named task are finished.

    ``rate`` is a speed worth showing, in ``rate_unit`` (e.g. 3.2 "x real time").
    """

    task: str
    done: float
    total: float
    unit: str
    rate: float | None = None
    rate_unit: str = ""


@dataclass(frozen=True)
class Step:
    """One optimizer step of a training run is done."""

    epoch: int
    step: int
    total_steps: int
    loss: float
    terms: dict[str, float]
    lr: float
    grad_norm: float
    seconds: float
    memory: tuple[float, float] | None  # allocated, reserved GiB; None without a GPU
    data_seconds: float = 0.0  # of ``seconds``, the wait for examples
    gpu_percent: int | None = None  # time in which the GPU was busy, as NVML has it; None: unknown


@dataclass(frozen=True)
class Validated:
    """A validation pass is done; ``scores`` are means over the validation songs."""

    epoch: int
    step: int
    scores: dict[str, float]
    best: bool


@dataclass(frozen=True)
class Saved:
    """A file or checkpoint is complete on disk."""

    path: str
    what: str


@dataclass(frozen=True)
class Notice:
    """Something the user should know: ``level`` is ``note`` or ``warning``."""

    message: str
    level: str = "note"


Event = Progress | Step | Validated | Saved | Notice
Reporter = Callable[[Event], None]


def silent(event: Event) -> None:
    """Take an event and do nothing: the default reporter."""
