"""A training run from top to bottom; `resume` is the same function with the state loaded."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from mssctl.config.schema import RunConfig
from mssctl.data.layouts import SongSets
from mssctl.data.loader import batches
from mssctl.data.mixing import Mixer
from mssctl.errors import MssctlError
from mssctl.events import Notice, Reporter, Saved, Step, Validated
from mssctl.hardware.device import configure
from mssctl.models import weights
from mssctl.models.registry import build
from mssctl.training.optim import LearningRate, MovingAverage, build_optimizer
from mssctl.training.record import Metrics, record_environment, versions
from mssctl.training.state import checkpoints, load_newest, save_checkpoint
from mssctl.training.step import StepOutcome, TrainState, train_step
from mssctl.training.validate import validate

BAD_STEPS = 10  # skipped in a row before a run stops
GIB = 2**30


@dataclass(frozen=True)
class Fit:
    """How far a run got. ``finished`` is False when it was interrupted."""

    state: TrainState
    finished: bool
    checkpoint: Path


def fit(
    config: RunConfig,
    songs: SongSets,
    run: Path,
    device: torch.device,
    *,
    resuming: bool,
    report: Reporter,
) -> Fit:
    """Train until the last epoch is done or someone interrupts.

    Seeds torch's global random generator. SIGINT or SIGTERM ends the run after the current step
    with a checkpoint; a second one raises KeyboardInterrupt at once.

    Args:
        config: resolved configuration.
        songs: to train on and to validate on.
        run: run folder with ``config.yaml``; checkpoints, metrics and ``best.safetensors`` go here.
        device: to compute on.
        resuming: go on from the newest checkpoint in ``run``.
        report: gets `Step`, `Validated`, `Saved`, `Progress` and `Notice`.

    Raises:
        MssctlError: unreadable audio, no usable checkpoint, a full disk, or a loss that stays
            NaN or infinite.
    """
    training = config.training
    configure(
        device,
        tf32=training.tf32,
        cudnn_benchmark=training.cudnn_benchmark,
        flash_attention=training.flash_attention,
    )
    torch.manual_seed(training.seed)
    model = build(config).to(device).train()
    model.set_checkpointing(training.gradient_checkpointing)
    mixer = Mixer(songs.train, config)
    total = training.num_epochs * training.steps_per_epoch
    state = TrainState(
        model,
        build_optimizer(model, config.optimizer),
        LearningRate(config.optimizer.lr, total, config.scheduler),
        MovingAverage(model, training.ema_momentum) if training.ema_momentum else None,
    )
    loaded = load_newest(run, state, report) if resuming and checkpoints(run) else None
    if resuming and not loaded:
        report(Notice("no checkpoint yet: starting from the first step"))
    record_environment(run, model, config, device, state.step)
    micro = training.gradient_accumulation_steps
    stream = batches(
        mixer,
        training,
        first=state.step * micro,
        end=total * micro,
        pin_memory=device.type == "cuda",
    )
    with (
        closing(stream),
        Interrupt(report) as interrupt,
        Metrics(run / "metrics.jsonl", state.step, _validated_step(state)) as metrics,
    ):
        session = _Session(config, songs, run, device, report, state, metrics, interrupt, loaded)
        while not interrupt.requested:
            if session.validation_is_due():
                session.validate()
            elif state.step < total:
                session.took_step(train_step(state, session.read(stream), config))
                if session.save_is_due():
                    session.save()
            else:
                break
        session.read_pending()
        checkpoint = session.save_if_new()
        finished = state.step >= total and not session.validation_is_due()
    return Fit(state, finished, checkpoint)


class Interrupt:
    """Turns the first SIGINT or SIGTERM into a wish to stop, and the second into an abort.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self, report: Reporter) -> None:
        self.requested = False
        self._report = report
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        # Python refuses to print from a handler that broke into a print: the wish counts.
        with suppress(RuntimeError):
            self._report(
                Notice("stopping after this step with a checkpoint; again to stop at once")
            )


@dataclass
class _Session:
    """What happens between the steps of one run: reading results, validation, saving."""

    config: RunConfig
    songs: SongSets
    run: Path
    device: torch.device
    report: Reporter
    state: TrainState
    metrics: Metrics
    interrupt: Interrupt
    checkpoint: Path | None  # of the last step saved or loaded

    def __post_init__(self) -> None:
        self.clock = time.perf_counter()
        self.pending: tuple[int, StepOutcome] | None = None
        self.saved_step = self.state.step if self.checkpoint else None

    def epoch(self, step: int) -> int:
        """The epoch, from 1, that step number ``step`` belongs to."""
        return (max(step, 1) - 1) // self.config.training.steps_per_epoch + 1

    # --- steps

    def read(self, stream: Iterator[Tensor]) -> list[Tensor]:
        """The micro-batches of one step; if they cannot be read, the run so far is saved.

        All of them come before the step begins: after an error in its middle, the random
        generators would be somewhere between two steps.
        """
        try:
            return list(islice(stream, self.config.training.gradient_accumulation_steps))
        except MssctlError:
            self.save_if_new()
            raise

    def took_step(self, outcome: StepOutcome) -> None:
        """Take the newest outcome; read the one before it, which a GPU has finished by now."""
        self.read_pending()
        self.pending = self.state.step, outcome
        if self.device.type == "cpu":
            self.read_pending()

    def read_pending(self) -> None:
        """Bring the last outcome to the host: log it, and watch for losses that are not finite."""
        if self.pending is None:
            return
        (step, outcome), self.pending = self.pending, None
        names = list(outcome.terms)
        numbers = [outcome.loss, outcome.grad_norm, outcome.finite, *outcome.terms.values()]
        loss, norm, finite, *terms = torch.stack([number.float() for number in numbers]).tolist()
        now = time.perf_counter()
        seconds, self.clock = now - self.clock, now
        self._log_step(step, loss, norm, dict(zip(names, terms, strict=True)), outcome.lr, seconds)
        self.state.bad_steps = 0 if finite else self.state.bad_steps + 1
        if self.state.bad_steps >= BAD_STEPS:
            raise MssctlError(
                f"step {step}: loss or gradient was not finite {BAD_STEPS} times in a row",
                hint=f"the last good state is in {self.run / 'checkpoints'}; try a lower "
                "optimizer.lr or training.amp_dtype=float32",
            )
        if not finite:
            message = f"step {step} skipped: loss {loss}, gradient norm {norm}"
            self.report(Notice(message, level="warning"))

    def _log_step(
        self, step: int, loss: float, norm: float, terms: dict[str, float], lr: float, sec: float
    ) -> None:
        training = self.config.training
        memory = None
        if self.device.type == "cuda":
            allocated = torch.cuda.memory_allocated(self.device) / GIB
            memory = allocated, torch.cuda.memory_reserved(self.device) / GIB
        total = training.num_epochs * training.steps_per_epoch
        epoch = self.epoch(step)
        self.report(Step(epoch, step, total, loss, terms, lr, norm, sec, memory))
        self.metrics.add(
            "step",
            step=step,
            epoch=epoch,
            loss=_finite(loss),
            terms={name: _finite(value) for name, value in terms.items()},
            lr=lr,
            grad_norm=_finite(norm),
            seconds=round(sec, 4),
        )

    # --- validation

    def validation_is_due(self) -> bool:
        """An epoch is complete and has not been validated."""
        step, per_epoch = self.state.step, self.config.training.steps_per_epoch
        return step % per_epoch == 0 and step != _validated_step(self.state)

    def validate(self) -> None:
        """Score the held-out songs, keep the best weights, save a checkpoint."""
        self.read_pending()
        state, config = self.state, self.config
        epoch, metric = self.epoch(state.step), config.training.validate_metric
        try:
            scores = validate(
                state.validated_model,
                self.songs.valid,
                config,
                report=self.report,
                stop=lambda: self.interrupt.requested,
            )
            if scores is None:
                return
            if metric not in scores:
                raise MssctlError("all stems of all validation songs are silent: nothing to score")
        except MssctlError:
            self.save_if_new()  # the epoch is not lost
            raise
        score = scores[metric]
        best = math.isfinite(score) and (state.best_score is None or score > state.best_score)
        state.schedule.validated(state.step, score)
        kept: dict[str, Any] = {name: _finite(value) for name, value in scores.items()}
        state.history.append({"step": state.step, "epoch": epoch, "scores": kept})
        if best:
            state.best_score, state.best_step = score, state.step
            self._export(score)
        self.metrics.add("validation", step=state.step, epoch=epoch, scores=kept, best=best)
        self.report(Validated(epoch, state.step, scores, best))
        self.save()
        self.clock = time.perf_counter()

    def _export(self, score: float) -> None:
        """Write the weights that `mssctl separate -n RUN/best.safetensors` takes."""
        path = self.run / "best.safetensors"
        metric = self.config.training.validate_metric
        card = {
            "run": self.run.name,
            "step": str(self.state.step),
            "validation": f"{metric} {score:.3f} dB on {len(self.songs.valid)} held-out songs",
            "training_songs": str(len(self.songs.train)),
            **{f"{name}_version": text for name, text in versions().items()},
        }
        weights.save(path, self.state.validated_model, self.config, card)
        self.report(Saved(str(path), "best model"))

    # --- checkpoints

    def save_is_due(self) -> bool:
        """Whether ``save_every_steps`` says so; an epoch's end saves after its validation."""
        every = self.config.training.save_every_steps
        return bool(every) and self.state.step % every == 0 and not self.validation_is_due()

    def save(self) -> Path:
        """Write a checkpoint."""
        self.read_pending()
        step, keep_last = self.state.step, self.config.training.keep_last
        path = save_checkpoint(self.run, self.state, epoch=self.epoch(step), keep_last=keep_last)
        self.checkpoint, self.saved_step = path, step
        self.report(Saved(str(path), "checkpoint"))
        self.clock = time.perf_counter()
        return path

    def save_if_new(self) -> Path:
        """The checkpoint of this very step, written if there is none yet."""
        if self.checkpoint and self.saved_step == self.state.step:
            return self.checkpoint
        return self.save()


def _validated_step(state: TrainState) -> int:
    """The step of the last validation, 0 before the first."""
    step = state.history[-1]["step"] if state.history else 0
    assert isinstance(step, int)
    return step


def _finite(value: float) -> float | None:
    """``value`` for JSON, which has no NaN and no infinity: None instead."""
    return value if math.isfinite(value) else None
