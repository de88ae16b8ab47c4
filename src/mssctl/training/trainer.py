"""A training run from top to bottom; `resume` is the same with a state that was loaded."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from mssctl.data.loader import batches
from mssctl.data.mixing import Mixer
from mssctl.errors import MssctlError
from mssctl.events import Notice, Validated
from mssctl.models.run_config import RunConfig
from mssctl.separation.stream import NotFiniteError
from mssctl.training import out_of_memory
from mssctl.training.checkpoint.load import checkpoints, generator_states, load_newest
from mssctl.training.checkpoint.save import Saver
from mssctl.training.checkpoint.stored import checkpoint_name
from mssctl.training.environment import record_session
from mssctl.training.interrupt import Interrupt
from mssctl.training.log import RunLog
from mssctl.training.prepare import prepare
from mssctl.training.receipt import make_receipt, receipt_text
from mssctl.training.run import Run, Start
from mssctl.training.selection import Selection, validated_step
from mssctl.training.step import StepOutcome, TrainState, train_step
from mssctl.training.validate import validate


class DivergedError(MssctlError):
    """The weights of a step give NaN or infinite samples; they are not saved."""


@dataclass(frozen=True)
class Fit:
    """How far a run got. ``finished`` is False when it was interrupted."""

    state: TrainState
    finished: bool
    checkpoint: Path


class Trainer:
    """Trains until the last epoch is done, nothing improves any more, or someone interrupts.

    Args:
        config: resolved configuration; of several processes, this one's share of it. It changes
            when memory runs out.
        run: where the run works, on what, and with whom.
        start: how this session of it begins.

    Raises:
        MssctlError: no usable checkpoint, or an environment that the configuration does not fit.
    """

    def __init__(self, config: RunConfig, run: Run, start: Start) -> None:
        self.config, self.run = config, run
        self.state = prepare(config, run.device)
        if not run.world.leads:  # the same weights, other dropout
            torch.manual_seed(config.training.seed + run.world.rank)
        if start.held_out:
            self.state.validation_fingerprint += f", songs {start.held_out}"
        loaded = self._load(start.config_sha256) if start.resuming else None
        if run.init and not loaded:
            run.init.apply(self.state, config, run.report)
        receipt = make_receipt(
            self.state,
            config,
            run.device,
            start.predicted_gib,
            run.world.size,
            run.initial_weights,
        )
        run.report(Notice(receipt_text(receipt)))
        if run.world.leads:
            record_session(
                run.folder, run.device, self.state.step, receipt, start.changes, run.report
            )
        self.selection = Selection(self.state, config.training, run)
        self.saver = Saver(self.state, config.training, run, loaded)
        self.micro_batches = config.training.gradient_accumulation_steps  # as they are loaded

    def fit(self) -> Fit:
        """Train.

        SIGINT or SIGTERM ends the run after the current step with a checkpoint; a second one
        raises KeyboardInterrupt at once.

        Raises:
            MssctlError: unreadable audio, a full disk, or a loss that stays NaN or infinite.
        """
        state, training = self.state, self.config.training
        total = training.num_epochs * training.steps_per_epoch
        with ExitStack() as stack:
            examples = self._examples(total)
            stack.enter_context(closing(examples))
            self.interrupt = stack.enter_context(Interrupt(self.run.report))
            self.log = RunLog(state, training, self.run, validated_step(state))
            stack.callback(self.log.close)
            while not self.run.world.any(self.interrupt.requested):
                if self.selection.is_due():
                    self._validate()
                elif state.step < total and not self.selection.stopped_early():
                    outcome = self._step(self._read(examples))
                    self.log.add(state.step, outcome)
                    if self.saver.is_due() and not self.selection.is_due():
                        self._save()
                else:
                    break
            self.log.flush()
            checkpoint = self._save_if_new()
        done = state.step >= total or self.selection.stopped_early()
        return Fit(state, done and not self.selection.is_due(), checkpoint)

    # --- steps

    def _examples(self, total: int) -> Generator[Tensor]:
        """The micro-batches of the rest of the run."""
        return batches(
            Mixer(self.run.songs.train, self.config),
            self.config.training,
            first=self.state.step * self.micro_batches,
            end=total * self.micro_batches,
            rank=self.run.world.rank,
            processes=self.run.world.size,
            pin_memory=self.run.device.type == "cuda",
        )

    def _read(self, examples: Iterator[Tensor]) -> list[Tensor]:
        """This process's examples of one step; if any cannot be read, the run so far is saved.

        All of them come before the step begins: after an error in its middle, the random
        generators would be somewhere between two steps.
        """
        with self._together(), self.log.waiting():
            return list(islice(examples, self.micro_batches))

    def _step(self, examples: list[Tensor]) -> StepOutcome:
        """Train on the next examples; what does not fit the memory is done in smaller parts."""
        while True:
            before = generator_states(self.run.device)
            size = self.config.training.batch_size
            parts = [part for batch in examples for part in batch.split(size)]
            try:
                return train_step(self.state, parts, self.config, self.run.world)
            except torch.OutOfMemoryError as error:
                reason = str(error)
            # Outside the handler, whose traceback keeps the step's tensors alive.
            out_of_memory.undo(self.state, before, self.run.device)
            smaller = out_of_memory.needing_less(self.config)
            if smaller is None:
                self._save_if_new()
                raise torch.OutOfMemoryError(reason)
            self._continue_with(smaller)

    def _continue_with(self, config: RunConfig) -> None:
        """Take a configuration that needs less memory, say so, and leave it to `resume`."""
        step = self.state.step + 1
        message = out_of_memory.described(self.config, config, step)
        self.config = config
        self.state.model.set_checkpointing(config.training.gradient_checkpointing)
        self.run.report(Notice(message, level="warning"))
        with self._together():
            if self.run.world.leads:
                out_of_memory.record(self.run, config, step)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """If the body fails in any process, save the run so far and raise its error in all of them.

        Weights that have diverged are not saved: `resume` continues from those before.
        """
        error = None
        try:
            yield
        except MssctlError as found:
            error = found
        world = self.run.world
        if not world.any(error is not None):
            return
        first = next(found for found in world.gather(error) if found)
        if not isinstance(first, DivergedError):
            self._save_if_new()
        raise first

    # --- validation

    def _validate(self) -> None:
        """Score the held-out songs, keep the best weights, save a checkpoint."""
        self.log.flush()
        scores = self._scores()
        if scores is None:  # interrupted
            return
        epoch = self.log.epoch(self.state.step)
        best = self.selection.add(epoch, scores)
        if best:
            self.selection.export(self.config)
        self.log.validated(Validated(epoch, self.state.step, scores, best))
        self._save()
        if self.selection.stopped_early():
            self.run.report(Notice(self.selection.why_stopped()))
        self.log.restart_clock()

    def _scores(self) -> dict[str, float] | None:
        """The scores that the leading process measures, in all of them; None when interrupted."""
        with self._together():  # the epoch is not lost
            scores = self._measured() if self.run.world.leads else None
        return self.run.world.share(scores)

    def _measured(self) -> dict[str, float] | None:
        rate = self.config.audio.sample_rate
        try:
            scores = validate(
                self.state.validated_model,
                self.run.songs.valid,
                self.config,
                report=self.run.report,
                stop=lambda: self.interrupt.requested,
                listen=lambda number, sounds: self.log.listen(number, sounds, rate),
            )
        except NotFiniteError:
            raise _diverged(self.run.folder, self.state.step, self.config) from None
        if scores is not None and self.config.training.validate_metric not in scores:
            raise MssctlError("all stems of all validation songs are silent: nothing to score")
        return scores

    # --- checkpoints

    def _load(self, config_sha256: str | None) -> Path | None:
        """Go back to the newest checkpoint, if there is one; the first process fixes the folder."""
        world = self.run.world
        if not world.share(bool(checkpoints(self.run.folder)) if world.leads else None):
            self.run.report(Notice("no checkpoint yet: starting from the first step"))
            return None
        return load_newest(
            self.run.folder,
            self.state,
            self.run.report,
            rank=world.rank,
            processes=world.size,
            config_sha256=config_sha256,
        )

    def _save(self) -> Path:
        """Write a checkpoint, when the outcomes so far are logged."""
        self.log.flush()
        path = self.saver.save(self.log.epoch(self.state.step))
        self.log.restart_clock()
        return path

    def _save_if_new(self) -> Path:
        """The checkpoint of this very step, written if there is none yet."""
        return self.saver.saved() or self._save()


def _diverged(run: Path, step: int, config: RunConfig) -> DivergedError:
    """The error for weights of ``step`` that cannot be validated, with the way back."""
    here = checkpoint_name(step)
    spoiled = [str(path) for path in checkpoints(run) if path.name >= here]
    sound = [path.name for path in checkpoints(run) if path.name < here]
    lower = f"--set optimizer.lr={config.optimizer.lr / 2:g}"
    if sound:
        first = f"remove {' and '.join(spoiled)}; then " if spoiled else ""
        hint = f"{first}`mssctl resume {run} {lower}` continues from {sound[-1]}"
    else:
        hint = f"train again with a lower learning rate: {lower}"
    return DivergedError(
        f"step {step}: the model's output is not finite: training has diverged", hint=hint
    )
