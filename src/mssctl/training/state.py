"""Checkpoints: folders that appear whole or not at all, without pickle.

``RUN/checkpoints/step-00001234/`` holds ``model.safetensors``, ``ema.safetensors`` (with a moving
average), ``optimizer.safetensors`` (``NAME/exp_avg`` and so on), ``rng.safetensors`` and, with the
SHA-256 of each of them, ``state.json``.
"""

from __future__ import annotations

import hashlib
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
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter
from mssctl.training.optim import tensors_of
from mssctl.training.record import versions
from mssctl.training.step import TrainState

FORMAT = 1
STATE = "state.json"
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
    run: Path, state: TrainState, report: Reporter, *, rank: int = 0, processes: int = 1
) -> Path:
    """Load the newest checkpoint that is whole, telling about damaged ones.

    ``rank`` of ``processes`` takes its own random generators back, if as many wrote it.

    Raises:
        MssctlError: there is none, or it belongs to another model.
    """
    damaged = []
    for folder in reversed(checkpoints(run)):
        try:
            tensors, values = _read(folder)
        except _DamagedError as error:
            damaged.append(str(error))
            report(Notice(f"{error}; trying the checkpoint before it", level="warning"))
            continue
        _restore(state, tensors, values, folder)
        _restore_generators(tensors["rng"], state, rank)
        if (wrote := values.get("processes", 1)) != processes:
            message = f"{wrote} process(es) wrote the checkpoint: dropout goes on differently"
            report(Notice(message, level="warning"))
        if values.get("judged_by", state.judged_by) != state.judged_by:
            state.best_score = state.best_step = None
            state.schedule.forget_scores()
            report(Notice("validation was changed: the best score is looked for anew"))
        if values["config_sha256"] != sha256(run / "config.yaml"):
            report(Notice("config.yaml was changed since the checkpoint", level="warning"))
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


class _DamagedError(Exception):
    """A checkpoint that cannot be used."""


def _write(
    folder: Path, state: TrainState, generators: Sequence[Generators], extra: Mapping[str, Any]
) -> None:
    files = {"model": tensors_of(state.model), "optimizer": _optimizer_tensors(state)}
    if state.average:
        files["ema"] = tensors_of(state.average.model)
    files["rng"] = {
        _of_rank(name, rank): tensor
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
        "judged_by": state.judged_by,
        "schedule": state.schedule.state_dict(),
        "history": state.history,
        "python_rng": random.getstate(),
        "numpy_rng": _numpy_rng(),
        "processes": len(generators),
        "sha256": {f"{name}.safetensors": sha256(folder / f"{name}.safetensors") for name in files},
        "versions": versions(),
        **extra,
    }
    (folder / STATE).write_text(json.dumps(values, allow_nan=False), encoding="utf-8")
    _sync(folder / STATE)
    _sync(folder)


def _read(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Tensors by file and the values of one checkpoint, checked."""
    try:
        values: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise MssctlError(
                f"{folder}: checkpoint format {values['format']}, this version reads {FORMAT}",
                exit_code=ExitCode.ENVIRONMENT,
            )
        tensors = {}
        for name, expected in values["sha256"].items():
            path = folder / name
            if sha256(path) != expected:
                raise _DamagedError(f"{path}: damaged (its checksum differs)")
            tensors[path.stem] = load_file(path)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _DamagedError(f"{folder}: damaged ({error})") from None
    return tensors, values


def _restore(
    state: TrainState,
    tensors: Mapping[str, Mapping[str, Tensor]],
    values: Mapping[str, Any],
    folder: Path,
) -> None:
    _copy_into(state.model, tensors["model"], folder)
    if state.average:
        _copy_into(state.average.model, tensors.get("ema", tensors["model"]), folder)
    _restore_optimizer(state, tensors["optimizer"])
    state.schedule.load_state_dict(values["schedule"])
    state.step = values["step"]
    state.best_score, state.best_step = values["best_score"], values["best_step"]
    state.bad_steps = values["bad_steps"]
    state.history = list(values["history"])
    version, numbers, gauss = values["python_rng"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = values["numpy_rng"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))  # noqa: NPY002 (the global one)


def _of_rank(name: str, rank: int) -> str:
    return f"{name}.{rank}" if rank else name


def _restore_generators(states: Mapping[str, Tensor], state: TrainState, rank: int) -> None:
    if (own := _of_rank("torch", rank)) in states:
        torch.set_rng_state(states[own])
    device = next(state.model.parameters()).device
    if device.type == "cuda" and (own := _of_rank("cuda", rank)) in states:
        torch.cuda.set_rng_state(states[own], device)


def _copy_into(model: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Copy stored tensors into a model of the same shape, or say what differs."""
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


def _restore_optimizer(state: TrainState, tensors: Mapping[str, Tensor]) -> None:
    entries: dict[str, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        name, key = path.rsplit("/", 1)
        entries.setdefault(name, {})[key] = tensor
    groups = state.optimizer.state_dict()["param_groups"]
    numbered = {number: entries[name] for number, name in _names(state).items() if name in entries}
    state.optimizer.load_state_dict({"state": numbered, "param_groups": groups})


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


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
