"""What to do about a run whose weights no longer give finite audio."""

from __future__ import annotations

from pathlib import Path

from mssctl.errors import MssctlError
from mssctl.models.run_config import RunConfig
from mssctl.training.checkpoint import checkpoint_name, checkpoints


class DivergedError(MssctlError):
    """The weights of a step give NaN or infinite samples; they are not saved."""


def diverged(run: Path, step: int, config: RunConfig) -> DivergedError:
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
