"""When and how a run saves its checkpoints."""

from __future__ import annotations

from pathlib import Path

from mssctl.config.schema import TrainingConfig
from mssctl.events import Saved
from mssctl.training.checkpoint import checkpoint_name, generator_states, save_checkpoint
from mssctl.training.environment import SAVED, set_in_session
from mssctl.training.run import Run
from mssctl.training.step import TrainState


class Saver:
    """Saves checkpoints, by all processes together.

    Args:
        state: of the run.
        training: its settings.
        run: where it works.
        loaded: the checkpoint that the state comes from, if it comes from one.
    """

    def __init__(
        self, state: TrainState, training: TrainingConfig, run: Run, loaded: Path | None
    ) -> None:
        self._state, self._training, self._run = state, training, run
        self._checkpoint, self._step = loaded, state.step
        self._has_saved = False

    def is_due(self) -> bool:
        """Whether ``save_every_steps`` says so."""
        every = self._training.save_every_steps
        return bool(every) and self._state.step % every == 0

    def save(self, epoch: int) -> Path:
        """Write a checkpoint."""
        state, run = self._state, self._run
        generators = run.world.gather(generator_states(run.device))
        path = run.folder / "checkpoints" / checkpoint_name(state.step)
        if run.world.leads:
            keep_last = self._training.keep_last
            save_checkpoint(run.folder, state, generators, epoch=epoch, keep_last=keep_last)
            if not self._has_saved:
                set_in_session(run.folder, SAVED, state.step)
                self._has_saved = True
        run.world.share(None)  # the others wait until it is written
        self._checkpoint, self._step = path, state.step
        run.report(Saved(str(path), "checkpoint"))
        return path

    def saved(self) -> Path | None:
        """The checkpoint of this very step, if there is one."""
        return self._checkpoint if self._step == self._state.step else None
