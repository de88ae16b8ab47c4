"""Which weights of a run are the best, by its validations, and when the run stops early."""

import math

from mssctl.config.metrics import METRICS
from mssctl.config.schema import TrainingConfig
from mssctl.events import Saved
from mssctl.models import weights
from mssctl.models.run_config import RunConfig
from mssctl.training.environment import versions
from mssctl.training.log import finite
from mssctl.training.run import Run
from mssctl.training.step import TrainState


class Selection:
    """Keeps the history of validations in the state of the run, and exports the best weights."""

    def __init__(self, state: TrainState, training: TrainingConfig, run: Run) -> None:
        self._state, self._training, self._run = state, training, run
        self._metric = METRICS[training.validate_metric]

    def is_due(self) -> bool:
        """Whether an epoch is complete and has not been validated."""
        step = self._state.step
        return step % self._training.steps_per_epoch == 0 and step != validated_step(self._state)

    def add(self, epoch: int, scores: dict[str, float]) -> bool:
        """Take the scores of a validation into the history; whether they are the best so far."""
        state = self._state
        score, sign = scores[self._metric.name], self._metric.sign
        best = math.isfinite(score) and (
            state.best_score is None or sign * score > sign * state.best_score
        )
        state.schedule.validated(state.step, sign * score)
        state.history.append({"step": state.step, "epoch": epoch, "scores": finite(scores)})
        if best:
            state.best_score, state.best_step = score, state.step
        return best

    def waited(self) -> int:
        """Validations since the best one."""
        best = self._state.best_step
        if best is None:
            return 0
        return sum(entry["step"] > best for entry in self._state.history)

    def stopped_early(self) -> bool:
        """Whether ``early_stopping`` ends the run."""
        patience = self._training.early_stopping
        return bool(patience) and self.waited() >= patience

    def why_stopped(self) -> str:
        """The reason in words."""
        return (
            f"stopping early: {self._metric.name} has not improved for {self.waited()} "
            f"validations; the best was {self._best(2)} at step {self._state.best_step}"
        )

    def _best(self, digits: int) -> str:
        return f"{self._state.best_score:.{digits}f} {self._metric.unit}".rstrip()

    def export(self, config: RunConfig) -> None:
        """Write the weights that `mssctl separate -n RUN/best.safetensors` takes."""
        state, run = self._state, self._run
        if not run.world.leads:
            return
        path = run.folder / "best.safetensors"
        card = {
            "run": run.folder.name,
            "step": str(state.step),
            "validation": (
                f"{self._metric.name} {self._best(3)} on {len(run.songs.valid)} held-out songs"
            ),
            "training_songs": str(len(run.songs.train)),
            **({"initial_weights": run.initial_weights} if run.initial_weights else {}),
            **{f"{name}_version": text for name, text in versions().items()},
        }
        weights.save(path, state.validated_model, config, card, overwrite=True)
        run.report(Saved(str(path), "best model"))


def validated_step(state: TrainState) -> int:
    """The step of the last validation, 0 before the first."""
    return int(state.history[-1]["step"]) if state.history else 0
