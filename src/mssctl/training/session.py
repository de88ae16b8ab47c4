"""What happens between the steps of one run: reading results, validation, saving."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mssctl import presets
from mssctl.data.layouts import SongSets
from mssctl.errors import MssctlError
from mssctl.events import Notice, Reporter, Saved, Step, Validated
from mssctl.files import write_whole
from mssctl.models import weights
from mssctl.models.run_config import RunConfig
from mssctl.separation.stream import NotFiniteError
from mssctl.training.board import LISTEN_SONGS, Board
from mssctl.training.distributed import World, whole_of
from mssctl.training.divergence import DivergedError, diverged
from mssctl.training.interrupt import Interrupt
from mssctl.training.record import (
    SAVED,
    Metrics,
    add_to_session,
    record_config,
    set_in_session,
    versions,
    writing,
)
from mssctl.training.state import checkpoint_name, generator_states, save_checkpoint
from mssctl.training.step import StepOutcome, TrainState, train_step
from mssctl.training.validate import validate

BAD_STEPS = 10  # skipped in a row before a run stops
GIB = 2**30


@dataclass
class Session:
    """What happens between the steps of one run: reading results, validation, saving."""

    config: RunConfig
    songs: SongSets
    run: Path
    device: torch.device
    report: Reporter
    state: TrainState
    metrics: Metrics | None  # of the process that writes
    interrupt: Interrupt
    checkpoint: Path | None  # of the last step saved or loaded
    stream: Iterator[Tensor]
    board: Board | None
    world: World

    def __post_init__(self) -> None:
        self.clock = time.perf_counter()
        self.pending: tuple[int, StepOutcome] | None = None
        self.saved_step = self.state.step if self.checkpoint else None
        self.has_saved = False
        self.stream_batches = self.config.training.gradient_accumulation_steps

    def epoch(self, step: int) -> int:
        """The epoch, from 1, that step number ``step`` belongs to."""
        return (max(step, 1) - 1) // self.config.training.steps_per_epoch + 1

    # --- steps

    def step(self) -> None:
        """Train on the next examples; what does not fit is done in smaller parts."""
        batches = self._read()
        while True:
            generators = torch.get_rng_state(), _cuda_rng(self.device)
            try:
                outcome = train_step(self.state, self._parts(batches), self.config, self.world)
            except torch.OutOfMemoryError as error:
                reason = str(error)
            else:
                break
            # Outside the handler, whose traceback keeps the step's tensors alive. First all is as
            # before the step: what follows may write a checkpoint.
            self.state.optimizer.zero_grad(set_to_none=True)
            torch.set_rng_state(generators[0])
            if generators[1] is not None:
                torch.cuda.set_rng_state(generators[1], self.device)
                torch.cuda.empty_cache()
            smaller = needing_less(self.config)
            if smaller is None:
                self.save_if_new()
                raise torch.OutOfMemoryError(reason)
            self._go_on_with(smaller)
        # Read the outcome before this one, which a GPU has finished by now.
        self.read_pending()
        self.pending = self.state.step, outcome
        if self.device.type == "cpu":
            self.read_pending()

    def _read(self) -> list[Tensor]:
        """This process's examples of one step; if any cannot be read, the run so far is saved.

        All of them come before the step begins: after an error in its middle, the random
        generators would be somewhere between two steps.
        """
        batches, error = [], None
        try:
            batches = list(islice(self.stream, self.stream_batches))
        except MssctlError as found:
            error = found
        self._raise_together(error)
        return batches

    def _raise_together(self, error: MssctlError | None) -> None:
        """If any process has met an error, save the run so far and raise it in all of them.

        Weights that have diverged are not saved: `resume` continues from those before.
        """
        if not self.world.any(error is not None):
            return
        first = next(found for found in self.world.gather(error) if found)
        if not isinstance(first, DivergedError):
            self.save_if_new()
        raise first

    def _parts(self, batches: list[Tensor]) -> list[Tensor]:
        """The same examples in micro-batches of the size in force."""
        return [part for batch in batches for part in batch.split(self.config.training.batch_size)]

    def _go_on_with(self, config: RunConfig) -> None:
        """Take a configuration that needs less memory, say so, and leave it to `resume`."""
        before, self.config = self.config, config
        now = config.training
        self.state.model.set_checkpointing(now.gradient_checkpointing)
        message = (
            f"step {self.state.step + 1}: memory ran out at batch {before.training.batch_size}; "
            f"going on with batch {now.batch_size} x {now.gradient_accumulation_steps} accumulated"
            f", checkpointing {now.gradient_checkpointing}: the same examples per step"
        )
        self.report(Notice(message, level="warning"))
        error = None
        try:
            if self.world.leads:
                self._record_config()
        except MssctlError as found:
            error = found
        self._raise_together(error)

    def _record_config(self) -> None:
        """Leave the configuration in force to `resume`, and a word to ``environment.json``."""
        path, now = self.run / "config.yaml", self.config.training
        with writing(path):
            write_whole(path, presets.dump(whole_of(self.config, self.world)))
        keys = "batch_size", "gradient_accumulation_steps", "gradient_checkpointing"
        entry = {"step": self.state.step + 1, **{key: getattr(now, key) for key in keys}}
        add_to_session(self.run, "memory_ran_out", entry)
        record_config(self.run)

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
        self._add(
            "step",
            step=step,
            epoch=epoch,
            loss=_finite(loss),
            terms={name: _finite(value) for name, value in terms.items()},
            lr=lr,
            grad_norm=_finite(norm),
            seconds=round(sec, 4),
        )
        if self.board:
            curves = {f"train/{name}": value for name, value in terms.items()}
            self.board.scalars(
                step, {"train/loss": loss, "train/lr": lr, "train/grad_norm": norm, **curves}
            )

    def _add(self, kind: str, **values: Any) -> None:
        if self.metrics:
            self.metrics.add(kind, **values)

    # --- validation

    def validation_is_due(self) -> bool:
        """An epoch is complete and has not been validated."""
        step, per_epoch = self.state.step, self.config.training.steps_per_epoch
        return step % per_epoch == 0 and step != validated_step(self.state)

    def validate(self) -> None:
        """Score the held-out songs, keep the best weights, save a checkpoint."""
        self.read_pending()
        state, config = self.state, self.config
        epoch, metric = self.epoch(state.step), config.training.validate_metric
        scores = None
        error: MssctlError | None = None
        try:
            scores = self._scores() if self.world.leads else None
            if scores is not None and metric not in scores:
                raise MssctlError("all stems of all validation songs are silent: nothing to score")
        except NotFiniteError:
            error = diverged(self.run, state.step, config)
        except MssctlError as found:
            error = found
        self._raise_together(error)  # the epoch is not lost
        scores = self.world.share(scores)
        if scores is None:
            return
        score = scores[metric]
        best = math.isfinite(score) and (state.best_score is None or score > state.best_score)
        state.schedule.validated(state.step, score)
        kept: dict[str, Any] = {name: _finite(value) for name, value in scores.items()}
        state.history.append({"step": state.step, "epoch": epoch, "scores": kept})
        if best:
            state.best_score, state.best_step = score, state.step
            self._export(score)
        self._add("validation", step=state.step, epoch=epoch, scores=kept, best=best)
        self.report(Validated(epoch, state.step, scores, best))
        if self.board:
            curves = {f"valid/{name}": value for name, value in scores.items()}
            self.board.scalars(state.step, curves)
        self.save()
        if self.stopped_early():
            message = (
                f"stopping early: {metric} has not risen for {self.waited()} validations; the best "
                f"was {state.best_score:.2f} dB at step {state.best_step}"
            )
            self.report(Notice(message))
        self.clock = time.perf_counter()

    def _scores(self) -> dict[str, float] | None:
        return validate(
            self.state.validated_model,
            self.songs.valid,
            self.config,
            report=self.report,
            stop=lambda: self.interrupt.requested,
            listen=self._listen if self.board else None,
        )

    def waited(self) -> int:
        """Validations since the best one."""
        best = self.state.best_step
        if best is None:
            return 0
        return sum(_step_of(entry) > best for entry in self.state.history)

    def stopped_early(self) -> bool:
        """Whether ``early_stopping`` ends the run."""
        patience = self.config.training.early_stopping
        return bool(patience) and self.waited() >= patience

    def _listen(self, number: int, sounds: dict[str, NDArray[np.float32]]) -> None:
        """Give TensorBoard the stems of the first validation songs."""
        if self.board and number < LISTEN_SONGS:
            rate = self.config.audio.sample_rate
            for stem, sound in sounds.items():
                self.board.audio(self.state.step, f"song {number + 1}/{stem}", sound, rate)

    def _export(self, score: float) -> None:
        """Write the weights that `mssctl separate -n RUN/best.safetensors` takes."""
        if not self.world.leads:
            return
        path = self.run / "best.safetensors"
        metric = self.config.training.validate_metric
        card = {
            "run": self.run.name,
            "step": str(self.state.step),
            "validation": f"{metric} {score:.3f} dB on {len(self.songs.valid)} held-out songs",
            "training_songs": str(len(self.songs.train)),
            **{f"{name}_version": text for name, text in versions().items()},
        }
        weights.save(path, self.state.validated_model, self.config, card, overwrite=True)
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
        generators = self.world.gather(generator_states(self.device))
        path = self.run / "checkpoints" / checkpoint_name(step)
        if self.world.leads:
            save_checkpoint(
                self.run, self.state, generators, epoch=self.epoch(step), keep_last=keep_last
            )
            if not self.has_saved:
                set_in_session(self.run, SAVED, step)
                self.has_saved = True
        self.world.share(None)  # nobody goes on before it is written
        self.checkpoint, self.saved_step = path, step
        self.report(Saved(str(path), "checkpoint"))
        self.clock = time.perf_counter()
        return path

    def save_if_new(self) -> Path:
        """The checkpoint of this very step, written if there is none yet."""
        if self.checkpoint and self.saved_step == self.state.step:
            return self.checkpoint
        return self.save()


def needing_less(config: RunConfig) -> RunConfig | None:
    """The next smaller form of a step with the same examples, or None at its end.

    The micro-batch is halved (or divided by its smallest divisor, so that all parts weigh the
    same) down to 1; then each path is checkpointed.
    """
    training = config.training
    size = training.batch_size
    if size > 1:
        smaller = next(part for part in range(size // 2, 0, -1) if size % part == 0)
        count = training.gradient_accumulation_steps * (size // smaller)
        changes: dict[str, Any] = {"batch_size": smaller, "gradient_accumulation_steps": count}
    elif training.gradient_checkpointing != "path":
        changes = {"gradient_checkpointing": "path"}
    else:
        return None
    return config.model_copy(update={"training": training.model_copy(update=changes)})


def _cuda_rng(device: torch.device) -> Tensor | None:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def validated_step(state: TrainState) -> int:
    """The step of the last validation, 0 before the first."""
    return _step_of(state.history[-1]) if state.history else 0


def _step_of(entry: dict[str, object]) -> int:
    step = entry["step"]
    assert isinstance(step, int)
    return step


def _finite(value: float) -> float | None:
    """``value`` for JSON, which has no NaN and no infinity: None instead."""
    return value if math.isfinite(value) else None
