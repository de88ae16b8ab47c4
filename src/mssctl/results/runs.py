"""What `mssctl runs` gives."""

from dataclasses import dataclass
from typing import Literal

RunStatus = Literal["running", "finished", "stopped", "damaged"]


@dataclass(frozen=True)
class RunState:
    """How far a training run is.

    Attributes:
        run: its folder.
        status: ``running``, a process trains in it; ``finished``, all its steps are done or it has
            stopped early; ``stopped``, `mssctl resume` continues it; ``damaged``, its
            configuration cannot be read.
        model: the architecture.
        step: the last one that is logged, ``total_steps`` those of the whole run.
        epoch: from 1; 0 before the first step.
        metric: that the run is validated on, ``best_score`` and ``best_step`` the best of them,
            ``last_score`` the newest.
        loss: of the last step.
        seconds_per_step: median of the newest steps.
        seconds_left: for the remaining steps at that speed, without validations.
        updated: when something was logged last, ISO 8601 in UTC.
        problem: why it is ``damaged``.
    """

    run: str
    status: RunStatus
    model: str | None = None
    step: int = 0
    total_steps: int | None = None
    epoch: int = 0
    metric: str | None = None
    best_score: float | None = None
    best_step: int | None = None
    last_score: float | None = None
    loss: float | None = None
    seconds_per_step: float | None = None
    seconds_left: float | None = None
    updated: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class RunList:
    """The runs in a folder, the newest first."""

    folder: str
    runs: list[RunState]


@dataclass(frozen=True)
class Curve:
    """A value over the steps; a step whose value is not finite is left out.

    Attributes:
        name: what it is, as in ``metrics.jsonl``.
        unit: of the values.
        steps: where they were logged.
        values: as many as there are steps.
    """

    name: str
    unit: str
    steps: list[int]
    values: list[float]


@dataclass(frozen=True)
class RunCurves:
    """One run and its curves.

    Attributes:
        state: how far it is.
        curves: with at most about 2,000 points each.
        damaged_lines: of ``metrics.jsonl``, left out.
    """

    state: RunState
    curves: list[Curve]
    damaged_lines: int
