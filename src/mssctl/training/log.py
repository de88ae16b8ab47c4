"""Where a run reports steps and validations: events, ``metrics.jsonl``, TensorBoard."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mssctl.config.schema import TrainingConfig
from mssctl.documents import parse_json, read_yaml
from mssctl.errors import MssctlError
from mssctl.events import Notice, Reporter, Step, Validated, silent
from mssctl.files import write_whole
from mssctl.hardware.machine import GIB
from mssctl.training.environment import writing
from mssctl.training.gpu_use import GpuUse
from mssctl.training.outcome import OnItsWay, Outbox
from mssctl.training.run import Run
from mssctl.training.step import StepOutcome, TrainState
from mssctl.training.tensorboard import LISTEN_SONGS, TensorBoard

BAD_STEPS = 10  # skipped in a row before a run stops


class RunLog:
    """Reports steps and validations; only the process that leads writes files.

    Args:
        state: of the run; counts the steps that were not finite.
        training: its settings.
        run: where it works.
        last_validated: the step of the last validation.

    Raises:
        MssctlError: a file cannot be written, or TensorBoard is not installed.
    """

    def __init__(
        self, state: TrainState, training: TrainingConfig, run: Run, last_validated: int
    ) -> None:
        self._state, self._training, self._run = state, training, run
        self._outbox = Outbox(run.device)
        self._pending: tuple[int, OnItsWay, float, float] | None = None
        self._waited = 0.0
        self._gpu = GpuUse(run.device)
        self._metrics: MetricsFile | None = None
        self._board: TensorBoard | None = None
        self._clock = time.perf_counter()
        if run.world.leads:
            if training.tensorboard:
                self._board = TensorBoard(run.folder / "tensorboard", state.step)
                config = run.folder / "config.yaml"
                if config.is_file():
                    self._board.settings(read_yaml(config), f"valid/{training.validate_metric}")
            path = run.folder / "metrics.jsonl"
            self._metrics = MetricsFile(path, state.step, last_validated, run.report)

    def close(self) -> None:
        """Close the files."""
        try:
            if self._board:
                self._board.close()
        finally:
            if self._metrics:
                self._metrics.close()

    def epoch(self, step: int) -> int:
        """The epoch, from 1, that step number ``step`` belongs to."""
        return (max(step, 1) - 1) // self._training.steps_per_epoch + 1

    def restart_clock(self) -> None:
        """Leave what was done between two steps out of the time of the next one."""
        self._clock = time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what waits for the examples of the next step."""
        started = time.perf_counter()
        yield
        self._waited += time.perf_counter() - started

    def add(self, step: int, outcome: StepOutcome) -> None:
        """Send this outcome to the host, and log the one before, which is there by now.

        Raises:
            MssctlError: too many steps in a row were not finite.
        """
        sent = self._outbox.send(step, outcome)  # first: what follows waits for the one before
        self.flush()
        self._pending = step, sent, outcome.lr, self._waited
        self._waited = 0.0
        if self._run.device.type == "cpu":
            self.flush()

    def flush(self) -> None:
        """Log the last outcome, once it is on the host.

        Raises:
            MssctlError: too many steps in a row were not finite.
        """
        if self._pending is None:
            return
        (step, sent, lr, waited), self._pending = self._pending, None
        found = sent.read()
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        training = self._training
        total = training.num_epochs * training.steps_per_epoch
        event = Step(
            epoch=self.epoch(step),
            step=step,
            total_steps=total,
            loss=found.loss,
            terms=found.terms,
            lr=lr,
            grad_norm=found.grad_norm,
            seconds=seconds,
            memory=self._memory(),
            data_seconds=waited,
            gpu_percent=self._gpu.percent(),
        )
        self._write_step(event)
        self._state.bad_steps = 0 if found.finite else self._state.bad_steps + 1
        if self._state.bad_steps >= BAD_STEPS:
            raise MssctlError(
                f"step {step}: loss or gradient was not finite {BAD_STEPS} times in a row",
                hint=f"the last good state is in {self._run.folder / 'checkpoints'}; try a lower "
                "optimizer.lr or training.amp_dtype=float32",
            )
        if not found.finite:
            message = f"step {step} skipped: loss {found.loss}, gradient norm {found.grad_norm}"
            self._run.report(Notice(message, level="warning"))

    def validated(self, event: Validated) -> None:
        """Report a validation and write it."""
        if self._metrics:
            self._metrics.add(
                "validation",
                step=event.step,
                epoch=event.epoch,
                scores=event.scores,
                best=event.best,
            )
        self._run.report(event)
        if self._board:
            curves = {f"valid/{name}": value for name, value in event.scores.items()}
            self._board.scalars(event.step, curves)

    def listen(self, number: int, sounds: dict[str, NDArray[np.float32]], rate: int) -> None:
        """Give TensorBoard the stems of the first validation songs."""
        if self._board and number < LISTEN_SONGS:
            for stem, sound in sounds.items():
                name = f"song {number + 1}/{stem}"
                self._board.audio(self._state.step, name, sound, rate)
                self._board.spectrogram(self._state.step, name, sound, rate)

    def _memory(self) -> tuple[float, float] | None:
        device = self._run.device
        if device.type != "cuda":
            return None
        used = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
        return used[0] / GIB, used[1] / GIB

    def _write_step(self, event: Step) -> None:
        self._run.report(event)
        if self._metrics:
            self._metrics.add(
                "step",
                step=event.step,
                epoch=event.epoch,
                loss=event.loss,
                terms=event.terms,
                lr=event.lr,
                grad_norm=event.grad_norm,
                seconds=round(event.seconds, 4),
                resources=_resources(event),
            )
        if self._board:
            values = {"loss": event.loss, "lr": event.lr, "grad_norm": event.grad_norm}
            curves = {f"train/{name}": value for name, value in (event.terms | values).items()}
            self._board.scalars(event.step, curves)
            used = {"seconds": event.seconds, **_resources(event)}
            self._board.scalars(event.step, {f"resources/{name}": n for name, n in used.items()})


def _resources(event: Step) -> dict[str, float | None]:
    """What a step used; the GPU's values are there on a GPU only."""
    used: dict[str, float | None] = {"data_seconds": round(event.data_seconds, 4)}
    if event.memory:
        used |= {"allocated_gib": event.memory[0], "reserved_gib": event.memory[1]}
        used |= {"gpu_percent": event.gpu_percent}
    return used


def finite(value: Any) -> Any:
    """A number, or a mapping of them, for JSON: None in place of NaN and infinity."""
    if isinstance(value, dict):
        return {name: finite(number) for name, number in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


class MetricsFile:
    """Appends lines to the file.

    Lines of steps and validations that a resumed run does again, and lines that cannot be read, are
    cut on opening, so that each step appears once.

    Args:
        path: of the file; it need not exist.
        last_step: the step that the run continues from.
        last_validated: the step of the last validation that it knows of.
        report: gets a notice of unreadable lines; a torn last one, as a kill leaves it, is normal.

    Raises:
        MssctlError: the file cannot be written; `add` and `close` raise it, too.
    """

    def __init__(
        self, path: Path, last_step: int, last_validated: int, report: Reporter = silent
    ) -> None:
        self._path = path
        last = {"step": last_step, "validation": last_validated}
        with writing(path):
            if path.exists():
                kept, damaged = _upto(path, last)
                write_whole(path, "".join(f"{line}\n" for line in kept))
                if damaged:
                    message = f"{path}: {damaged} damaged line(s) left out"
                    report(Notice(message, level="warning"))
            self._file = path.open("a", encoding="utf-8")

    def add(self, kind: str, **values: Any) -> None:
        """Append one line and hand it to the operating system."""
        with writing(self._path):
            line = json.dumps({"kind": kind, **finite(values)}, allow_nan=False)
            self._file.write(f"{line}\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with writing(self._path):
            self._file.close()


def last_step(path: Path) -> int:
    """The last step in ``metrics.jsonl``, 0 if there is none."""
    lines = _lines(path) if path.is_file() else []
    return max((values["step"] for _, values in lines if values), default=0)


def _upto(path: Path, last: dict[str, int]) -> tuple[list[str], int]:
    """The lines up to the ``last`` step of their kind, and how many cannot be read."""
    lines = _lines(path)
    kept = [line for line, found in lines if found and found["step"] <= last[found["kind"]]]
    damaged = sum(found is None for _, found in lines[:-1])  # the last: empty, or torn by a kill
    return kept, damaged


def _lines(path: Path) -> list[tuple[str, dict[str, Any] | None]]:
    """Each line, and its values; None where they are not those of a step or validation."""
    lines: list[tuple[str, dict[str, Any] | None]] = []
    for line in path.read_bytes().split(b"\n"):
        try:
            values = parse_json(line, "line")
            known = type(values["step"]) is int and values["kind"] in ("step", "validation")
        except (MssctlError, KeyError, TypeError):
            known = False
        lines.append((line.decode(errors="replace"), values if known else None))
    return lines
