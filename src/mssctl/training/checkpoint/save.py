"""Write checkpoints, and remove those that are no longer needed."""

import json
import os
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from mssctl.config.schema import TrainingConfig
from mssctl.documents import sealed
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Saved
from mssctl.files import sha256
from mssctl.training.checkpoint.load import OLD, generator_states, parameter_numbers
from mssctl.training.checkpoint.stored import FORMAT, STATE, checkpoint_name, of_rank
from mssctl.training.environment import SAVED, set_in_session, versions
from mssctl.training.optim import tensors_of
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


def save_checkpoint(
    run: Path,
    state: TrainState,
    generators: Sequence[Mapping[str, Tensor]],
    *,
    epoch: int,
    keep_last: int,
) -> Path:
    """Write a checkpoint and remove older ones than the ``keep_last`` newest and the best.

    Args:
        run: the run folder, with its ``config.yaml``.
        state: to write.
        generators: `generator_states` of each process that trains, by rank.
        epoch: from 1; for readers of ``state.json``, the position follows from the step.
        keep_last: at least 1.

    Returns:
        The new folder.

    Raises:
        MssctlError: it could not be written; nothing of it is left then.
    """
    folder = run / "checkpoints"
    final = folder / checkpoint_name(state.step)
    temporary = folder / f".{final.name}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        extra = {"epoch": epoch, "config_sha256": sha256(run / "config.yaml")}
        _write(temporary, state, generators, extra)
        _replace(temporary, final)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise MssctlError(
            f"{final}: the checkpoint could not be written: {reason}",
            hint="free some space, then continue with `mssctl resume`",
            exit_code=ExitCode.ENVIRONMENT,
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _prune(folder, state, keep_last)
    return final


def _write(
    folder: Path,
    state: TrainState,
    generators: Sequence[Mapping[str, Tensor]],
    extra: Mapping[str, Any],
) -> None:
    files = {"model": tensors_of(state.model), "optimizer": _optimizer_tensors(state)}
    if state.average:
        files["ema"] = tensors_of(state.average.model)
    files["rng"] = {
        of_rank(name, rank): tensor
        for rank, states in enumerate(generators)
        for name, tensor in states.items()
    }
    for name, tensors in files.items():
        path = folder / f"{name}.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
        _sync(path)
    values = {
        "format": FORMAT,
        "step": state.step,
        "best_score": state.best_score,
        "best_step": state.best_step,
        "bad_steps": state.bad_steps,
        "judged_by": state.validation_fingerprint,
        "schedule": state.schedule.state_dict(),
        "history": state.history,
        "python_rng": random.getstate(),
        "numpy_rng": _numpy_rng(),
        "processes": len(generators),
        "sha256": {f"{name}.safetensors": sha256(folder / f"{name}.safetensors") for name in files},
        "versions": versions(),
        **extra,
    }
    (folder / STATE).write_text(json.dumps(sealed(values), allow_nan=False), encoding="utf-8")
    _sync(folder / STATE)
    _sync(folder)


def _optimizer_tensors(state: TrainState) -> dict[str, Tensor]:
    names = parameter_numbers(state)
    return {
        f"{names[number]}/{key}": value
        for number, values in state.optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }


def _replace(temporary: Path, final: Path) -> None:
    """Rename into place; a folder of that name (a damaged checkpoint) gives way."""
    if final.exists():
        old = final.with_name(f".{final.name}{OLD}")
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
        temporary.rename(final)
        shutil.rmtree(old)
    else:
        temporary.rename(final)
    _sync(final.parent)


def _prune(folder: Path, state: TrainState, keep_last: int) -> None:
    best = checkpoint_name(state.best_step) if state.best_step is not None else None
    for old in sorted(folder.glob("step-*"))[:-keep_last]:
        if old.name != best:
            # Hidden first, so that a half-removed folder never looks like a checkpoint.
            shutil.rmtree(old.rename(old.with_name(f".{old.name}.tmp")))
    for leftover in folder.glob(".*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def _numpy_rng() -> list[Any]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (the global one)
    return [name, np.asarray(keys).tolist(), *rest]


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
