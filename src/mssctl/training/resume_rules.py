"""What `resume --set` may change: nothing that would make it another model or another past."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from mssctl.errors import ExitCode, MssctlError
from mssctl.models.run_config import RunConfig

CHANGEABLE = {
    # how long, how often, what is kept
    "description",
    "training.num_epochs",
    "training.early_stopping",
    "training.save_every_steps",
    "training.keep_last",
    "training.tensorboard",
    # what the machine does: the same mathematics, rounded otherwise at most
    "training.num_workers",
    "training.prefetch_factor",
    "training.batch_size",  # and the next, if their product stays
    "training.gradient_accumulation_steps",
    "training.gradient_checkpointing",
    "training.amp_dtype",
    "training.tf32",
    "training.cudnn_benchmark",
    "training.flash_attention",
    "training.compile",
    "optimizer.fused",
    "model.scan_backend",
    "model.chunk_size",
    "model.slice_positions",
    # how the weights move from here on
    "optimizer.lr",
    "optimizer.weight_decay",
    "training.gradient_clip",
    "scheduler.name",
    "scheduler.warmup_steps",
    "scheduler.factor",
    "scheduler.patience",
    "scheduler.min_lr",
    # how they are judged: the best score is then looked for anew
    "training.validate_songs",
    "training.validate_metric",
    "separation.segment_seconds",
    "separation.overlap",
    "separation.fade",
    "separation.batch_size",
}


def changes(before: RunConfig, after: RunConfig) -> dict[str, str]:
    """Key -> ``old -> new`` of all that differs.

    Raises:
        MssctlError: something differs that a run cannot change (exit 3).
    """
    old, new = _leaves(before), _leaves(after)
    differing = [key for key in old | new if old.get(key) != new.get(key)]
    refused = [key for key in differing if key not in CHANGEABLE]
    if refused:
        shown = ", ".join(f"{key} ({old.get(key)} -> {new.get(key)})" for key in refused)
        raise MssctlError(
            f"a run cannot change {shown}: that is another model or other training data",
            hint="start a new run with `mssctl train`; what can change is in docs/training.md",
            exit_code=ExitCode.ENVIRONMENT,
        )
    batches = [
        config.training.batch_size * config.training.gradient_accumulation_steps
        for config in (before, after)
    ]
    if batches[0] != batches[1]:
        raise MssctlError(
            "a run cannot change training.batch_size x training.gradient_accumulation_steps "
            f"({batches[0]} -> {batches[1]}): the examples of a step would be others",
            hint="change both so that their product stays",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return {key: f"{old.get(key)} -> {new.get(key)}" for key in differing}


def _leaves(model: BaseModel, prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key in type(model).model_fields:
        value = getattr(model, key)
        if isinstance(value, BaseModel):
            leaves |= _leaves(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves
