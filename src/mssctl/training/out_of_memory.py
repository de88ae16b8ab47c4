"""A training step that does not fit the memory: undo it, and find a smaller form of it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mssctl import presets
from mssctl.files import write_whole
from mssctl.models.run_config import RunConfig
from mssctl.training.checkpoint.load import set_generators
from mssctl.training.distributed import whole_of
from mssctl.training.environment import add_to_session, record_config, writing
from mssctl.training.run import Run
from mssctl.training.step import TrainState


def undo(state: TrainState, generators: Mapping[str, Tensor], device: torch.device) -> None:
    """Take back a step that has failed: what follows may write a checkpoint.

    ``generators`` are the states of before.
    """
    state.optimizer.zero_grad(set_to_none=True)
    set_generators(generators, device)
    torch.cuda.empty_cache()  # does nothing where CUDA is not in use


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


def described(before: RunConfig, after: RunConfig, step: int) -> str:
    """What changes from ``step`` on, in words."""
    now = after.training
    return (
        f"step {step}: memory ran out at batch {before.training.batch_size}; continuing with "
        f"batch {now.batch_size} x {now.gradient_accumulation_steps} accumulated, "
        f"checkpointing {now.gradient_checkpointing}: the same examples per step"
    )


def record(run: Run, config: RunConfig, step: int) -> None:
    """Leave the configuration in force to `resume`, and an entry in ``environment.json``.

    Raises:
        MssctlError: a file cannot be written.
    """
    path = run.folder / "config.yaml"
    with writing(path):
        write_whole(path, presets.dump(whole_of(config, run.world)))
    keys = "batch_size", "gradient_accumulation_steps", "gradient_checkpointing"
    entry = {"step": step, **{key: getattr(config.training, key) for key in keys}}
    add_to_session(run.folder, "memory_ran_out", entry)
    record_config(run.folder)
