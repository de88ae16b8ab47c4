"""Which models there are, what is known about one, and a copy of one to pass on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from mssctl.errors import ExitCode, MssctlError
from mssctl.models import weights
from mssctl.models.weights import bundled, describe
from mssctl.results import ModelEntry, ModelList


def list_models() -> ModelList:
    """The models that come with mssctl, by name."""
    return ModelList([describe(name) for name in sorted(bundled())])


def model_info(name: str) -> ModelEntry:
    """What the weights file of a model says about itself.

    Args:
        name: bundled model, or path of a ``.safetensors`` file.

    Raises:
        MssctlError: no such model (exit 3), damaged file (exit 4).
    """
    return describe(name)


def export_model(
    name: str, out: str | Path, *, half: bool = False, card: Sequence[str] = ()
) -> ModelEntry:
    """Write a copy of a model, smaller if wanted, with entries of its card set.

    Args:
        name: bundled model, or path of a ``.safetensors`` file, such as a run's best.
        out: the file to write; must not exist.
        half: store float16, half the size; the model still computes as before.
        card: ``key=value``, for example ``licence=CC BY 4.0``.

    Raises:
        MssctlError: no such model, ``out`` exists or cannot be written, a malformed entry.
    """
    path = Path(out).expanduser()
    if path.suffix != ".safetensors":
        raise MssctlError(f"{path}: a model file ends in .safetensors", exit_code=ExitCode.USAGE)
    if path.exists():
        raise MssctlError(
            f"{path}: exists already", hint="name another file", exit_code=ExitCode.USAGE
        )
    entries = [entry.partition("=") for entry in card]
    for key, equals, value in entries:
        if not (key and equals and value):
            raise MssctlError(
                f"--card {key}{equals}{value}: expected key=value", exit_code=ExitCode.USAGE
            )
    model = weights.load(name, torch.device("cpu"))
    weights.save(
        path,
        model.separator,
        model.config,
        {**model.card, **{key: value for key, _, value in entries}},
        torch.float16 if half else None,
    )
    return describe(str(path))
