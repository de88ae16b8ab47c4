"""Load the newest intact checkpoint."""

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mssctl.errors import MssctlError
from mssctl.events import Notice, Reporter
from mssctl.files import sha256
from mssctl.training.checkpoint.stored import DamagedError, SavedValues, of_rank, read_checkpoint
from mssctl.training.environment import recorded_config
from mssctl.training.optim import tensors_of
from mssctl.training.step import TrainState

OLD = ".old.tmp"  # ending of a checkpoint that gives way to one of the same step


def load_newest(
    run: Path,
    state: TrainState,
    report: Reporter,
    *,
    rank: int = 0,
    processes: int = 1,
    config_sha256: str | None = None,
) -> Path:
    """Load the newest intact checkpoint and report damaged ones.

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
        own = {name: tensors["rng"].get(of_rank(name, rank)) for name in ("torch", "cuda")}
        states = {name: tensor for name, tensor in own.items() if tensor is not None}
        set_generators(states, next(state.model.parameters()).device)
        _report_differences(folder, state, values, processes, report)
        found = config_sha256 or sha256(run / "config.yaml")
        if found not in (values.config_sha256, recorded_config(run)):
            report(Notice("config.yaml was changed since the checkpoint", level="warning"))
        return folder
    raise MssctlError(
        f"{run}: no {'undamaged ' if damaged else ''}checkpoint to continue from",
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


def _report_differences(
    folder: Path,
    state: TrainState,
    values: SavedValues,
    processes: int,
    report: Reporter,
) -> None:
    """Report what is not as it was when the checkpoint was written."""
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
        report(Notice("validation was changed: the search for the best score starts over"))


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


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """The random generators of this process: ``torch``, and ``cuda`` of its GPU."""
    states = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generators(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Take back what `generator_states` gave, as far as it is there."""
    if "torch" in states:
        torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


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
    return {
        number: by_name[name]
        for number, name in parameter_numbers(state).items()
        if name in by_name
    }


def parameter_numbers(state: TrainState) -> dict[int, str]:
    """Parameter name by the number the optimizer gives it."""
    names = {id(parameter): name for name, parameter in state.model.named_parameters()}
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    return {number: names[id(parameter)] for number, parameter in enumerate(parameters)}
