"""What a checkpoint holds, read and checked before anything is restored."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mssctl.documents import CHECKSUM, read_json, unsealed
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import sha256

FORMAT = 2
STATE = "state.json"
FILES = frozenset(f"{name}.safetensors" for name in ("model", "optimizer", "rng"))
AVERAGE = "ema.safetensors"

Number = Annotated[int, Field(ge=0)]


def checkpoint_name(step: int) -> str:
    """Name of the folder of a step's checkpoint."""
    return f"step-{step:08d}"


class DamagedError(Exception):
    """A checkpoint that cannot be used; its text says where and why."""


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class ScheduleValues(_Form):
    """State of the learning rate."""

    scale: Annotated[float, Field(gt=0.0, le=1.0)]
    best: float | None
    waited: Number


class ValidationEntry(_Form):
    """One validation of the run."""

    step: Number
    epoch: Number
    scores: dict[str, float | None]


class SavedValues(_Form):
    """What ``state.json`` holds besides its checksum."""

    format: int
    step: Number
    epoch: Number
    best_score: float | None
    best_step: Number | None
    bad_steps: Number
    judged_by: str | None = None
    schedule: ScheduleValues
    history: list[ValidationEntry]
    python_rng: Annotated[list[Any], Field(min_length=3, max_length=3)]
    numpy_rng: Annotated[list[Any], Field(min_length=5, max_length=5)]
    processes: Annotated[int, Field(ge=1)] = 1
    sha256: dict[str, str]
    config_sha256: str

    @model_validator(mode="after")
    def _agree(self) -> Self:
        steps = [entry.step for entry in self.history]
        if steps != sorted(set(steps)) or (steps and steps[-1] > self.step):
            raise ValueError("its validations are not those of steps before it")
        if (self.best_step is None) != (self.best_score is None):
            raise ValueError("only one of best score and best step is there")
        if self.best_step is not None and self.best_step not in steps:
            raise ValueError("the best step was not validated")
        names = self.sha256.keys()
        if not names >= FILES or names - FILES - {AVERAGE}:
            raise ValueError("sha256 names other files than a checkpoint has")
        return self

    @model_validator(mode="after")
    def _generators_take_their_states(self) -> Self:
        try:
            random.Random().setstate(self.python_state())  # noqa: S311 (tries the state only)
            np.random.RandomState().set_state(self.numpy_state())
        except (ArithmeticError, TypeError, ValueError) as error:
            raise ValueError(f"the state of a random generator: {error}") from None
        return self

    def python_state(self) -> tuple[Any, ...]:
        """For `random.setstate`."""
        version, numbers, gauss = self.python_rng
        return version, tuple(numbers), gauss

    def numpy_state(self) -> tuple[str, Any, int, int, float]:
        """For `numpy.random.set_state`, which believes any position."""
        name, keys, position, has_gauss, gauss = self.numpy_rng
        if type(position) is not int or not 0 <= position <= 624:
            raise ValueError("a position outside of it")
        return str(name), np.array(keys, np.uint32), position, int(has_gauss), float(gauss)


def read_checkpoint(folder: Path) -> tuple[dict[str, dict[str, Tensor]], SavedValues]:
    """Tensors by file and the values of one checkpoint, all of it checked.

    Raises:
        DamagedError: unreadable, changed since it was written, or of another form.
        MssctlError: intact, but of a format that this version does not know (exit 3).
    """
    values = _read_values(folder)
    tensors = {}
    for name, expected in values.sha256.items():
        path = folder / name
        try:
            if sha256(path) != expected:
                raise DamagedError(f"{path}: damaged (its checksum differs)")
            tensors[path.stem] = load_file(path)
        except (OSError, SafetensorError) as error:
            raise DamagedError(f"{path}: damaged ({error})") from None
    _try_generators(tensors["rng"], folder, values.processes)
    return tensors, values


def _try_generators(states: Mapping[str, Tensor], folder: Path, processes: int) -> None:
    """Refuse states that PyTorch's generators do not take, or of another number of processes."""
    found = {name: tensor for name, tensor in states.items() if name.startswith("torch")}
    if found.keys() != {of_rank("torch", rank) for rank in range(min(processes, len(found) + 1))}:
        raise DamagedError(f"{folder}: damaged: random generators of {len(found)} process(es)")
    for name, tensor in found.items():
        try:
            torch.Generator().set_state(tensor)
        except (RuntimeError, TypeError) as error:
            raise DamagedError(f"{folder}: damaged: {name}: {error}") from None


def _read_values(folder: Path) -> SavedValues:
    """The values of a checkpoint."""
    path = folder / STATE
    try:
        tree = read_json(path)
        # Before format 2 there was no checksum over the values.
        if CHECKSUM in tree or tree.get("format") != 1:
            tree = unsealed(tree, str(path))
    except MssctlError as error:
        raise DamagedError(error.message) from None
    if tree["format"] not in (1, FORMAT):
        raise MssctlError(
            f"{folder}: checkpoint format {tree['format']}, this version reads up to {FORMAT}",
            hint="resume with the version of mssctl that wrote it",
            exit_code=ExitCode.ENVIRONMENT,
        )
    try:
        found = SavedValues.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"][:4])
        reason = str(first["msg"]).removeprefix("Value error, ")[:120]
        raise DamagedError(f"{path}: damaged: {place[:60]}: {reason}") from None
    if folder.name != checkpoint_name(found.step):
        raise DamagedError(f"{path}: damaged: it is of step {found.step}")
    return found


def of_rank(name: str, rank: int) -> str:
    """Name of a generator's state of one process; the first one's has no number."""
    return f"{name}.{rank}" if rank else name
