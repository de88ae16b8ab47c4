"""Checkpoints: folders that appear whole or not at all, without pickle.

``RUN/checkpoints/step-00001234/`` holds ``model.safetensors``, ``ema.safetensors`` (with a moving
average), ``optimizer.safetensors`` (``NAME/exp_avg`` and so on), ``rng.safetensors`` and, with the
SHA-256 of each of them and a checksum over itself, ``state.json``. All of it is checked before
anything is restored.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from mssctl.documents import sealed
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter
from mssctl.files import sha256
from mssctl.training.environment import recorded_config, versions
from mssctl.training.optim import tensors_of
from mssctl.training.step import TrainState
from mssctl.training.stored_state import (
    FORMAT,
    STATE,
    DamagedError,
    SavedValues,
    of_rank,
    read_checkpoint,
)

OLD = ".old.tmp"  # ending of a checkpoint that gives way to one of the same step


Generators = Mapping[str, Tensor]  # states of torch's random generators of one process


def checkpoint_name(step: int) -> str:
    """Name of the folder of a step's checkpoint."""
    return f"step-{step:08d}"


def generator_states(device: torch.device) -> Generators:
    """The random generators of this process: ``torch``, and ``cuda`` of its GPU."""
    states = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def save_checkpoint(
    run: Path,
    state: TrainState,
    generators: Sequence[Generators],
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
            hint="free some space and go on with `mssctl resume`",
            exit_code=ExitCode.ENVIRONMENT,
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _prune(folder, state, keep_last)
    return final


def load_newest(
    run: Path,
    state: TrainState,
    report: Reporter,
    *,
    rank: int = 0,
    processes: int = 1,
    config_sha256: str | None = None,
) -> Path:
    """Load the newest checkpoint that is whole, telling about damaged ones.

    ``rank`` of ``processes`` takes its own random generators back, if as many wrote it.
    ``config_sha256`` is that of ``config.yaml`` as it was found, if it was changed since.

    Raises:
        MssctlError: there is none, or it belongs to another model.
    """
    damaged = 0
    for folder in reversed(checkpoints(run)):
        try:
            tensors, values = read_checkpoint(folder)
            entries = _optimizer_entries(state, tensors["optimizer"], folder)
        except DamagedError as error:
            damaged += 1
            report(Notice(f"{error}; trying the checkpoint before it", level="warning"))
            continue
        average = tensors.get("ema", tensors["model"])
        _refuse_other_model(state.model, tensors["model"], folder)
        _refuse_other_model(state.model, average, folder)
        _restore(state, tensors["model"], average, entries, values)
        _restore_generators(tensors["rng"], state, rank)
        found = config_sha256 or sha256(run / "config.yaml")
        by_hand = found not in (values.config_sha256, recorded_config(run))
        _tell(folder, state, values, processes, by_hand, report)
        return folder
    raise MssctlError(
        f"{run}: no {'undamaged ' if damaged else ''}checkpoint to go on from",
        hint="start again with `mssctl train`",
    )


def checkpoints(run: Path) -> list[Path]:
    """Checkpoint folders of a run, oldest first.

    One that was being replaced when the program was killed gets its name back first.
    """
    folder = run / "checkpoints"
    for old in folder.glob(f".step-*{OLD}"):
        final = folder / old.name[1:].removesuffix(OLD)
        if not final.exists():
            old.rename(final)
    return sorted(folder.glob("step-*"))


def _tell(
    folder: Path,
    state: TrainState,
    values: SavedValues,
    processes: int,
    by_hand: bool,
    report: Reporter,
) -> None:
    """Say what is not as it was when the checkpoint was written."""
    if values.format == 1:
        message = f"{folder}: of an earlier version, without a checksum over its values"
        report(Notice(message))
    if values.processes != processes:
        message = f"{values.processes} process(es) wrote the checkpoint: dropout differs from here"
        report(Notice(message, level="warning"))
    # An earlier version kept no hash of the songs at its end.
    if not state.validation_fingerprint.startswith(values.judged_by or ""):
        state.best_score = state.best_step = None
        state.schedule.forget_scores()
        report(Notice("validation was changed: the best score is looked for anew"))
    if by_hand:
        report(Notice("config.yaml was changed since the checkpoint", level="warning"))


def _write(
    folder: Path, state: TrainState, generators: Sequence[Generators], extra: Mapping[str, Any]
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


def _restore(
    state: TrainState,
    model: Mapping[str, Tensor],
    average: Mapping[str, Tensor],
    entries: Mapping[int, Mapping[str, Tensor]],
    values: SavedValues,
) -> None:
    """Take over a checkpoint of which everything has been checked."""
    _copy_into(state.model, model)
    if state.average:
        _copy_into(state.average.model, average)
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": dict(entries), "param_groups": groups})
    state.schedule.load_state_dict(values.schedule.model_dump())
    state.step = values.step
    state.best_score, state.best_step = values.best_score, values.best_step
    state.bad_steps = values.bad_steps
    state.history = [entry.model_dump() for entry in values.history]
    random.setstate(values.python_state())
    np.random.set_state(values.numpy_state())  # noqa: NPY002 (the global one)


def _restore_generators(states: Mapping[str, Tensor], state: TrainState, rank: int) -> None:
    if (own := of_rank("torch", rank)) in states:
        torch.set_rng_state(states[own])
    device = next(state.model.parameters()).device
    if device.type == "cuda" and (own := of_rank("cuda", rank)) in states:
        torch.cuda.set_rng_state(states[own], device)


def _refuse_other_model(model: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Raise an `MssctlError` that says which tensors differ in name or shape."""
    own = tensors_of(model)
    differing = [
        f"{name} is {_shape(own.get(name))} by config.yaml, {_shape(tensors.get(name))} stored"
        for name in sorted(own.keys() | tensors.keys())
        if _shape(own.get(name)) != _shape(tensors.get(name))
    ]
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise MssctlError(
            f"{folder}: a checkpoint of another model: {'; '.join(differing[:3])}{more}",
            hint="the model section of config.yaml must stay as it was",
        )


def _copy_into(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    own = tensors_of(model)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else str(tuple(tensor.shape))


def _names(state: TrainState) -> dict[int, str]:
    """Parameter name by the number the optimizer gives it."""
    names = {id(parameter): name for name, parameter in state.model.named_parameters()}
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    return {number: names[id(parameter)] for number, parameter in enumerate(parameters)}


def _optimizer_tensors(state: TrainState) -> dict[str, Tensor]:
    names = _names(state)
    return {
        f"{names[number]}/{key}": value
        for number, values in state.optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }


def _optimizer_entries(
    state: TrainState, tensors: Mapping[str, Tensor], folder: Path
) -> dict[int, dict[str, Tensor]]:
    """The stored tensors by the number that the optimizer gives a parameter."""
    parameters = dict(state.model.named_parameters())
    by_name: dict[str, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        name, _, key = path.rpartition("/")
        if name in parameters and tensor.shape not in (parameters[name].shape, torch.Size()):
            raise DamagedError(f"{folder}: damaged: the optimizer's {path} has another shape")
        by_name.setdefault(name, {})[key] = tensor
    if any(entry.keys() != {"step", "exp_avg", "exp_avg_sq"} for entry in by_name.values()):
        raise DamagedError(f"{folder}: damaged: the optimizer's tensors are not all there")
    return {number: by_name[name] for number, name in _names(state).items() if name in by_name}


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
    best = f"step-{state.best_step:08d}" if state.best_step is not None else None
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
