"""Reads the files that official weights come in; nothing in them is ever run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mssctl.errors import ExitCode, MssctlError

# Where programs keep the tensors inside their checkpoints, and what Lightning puts before a key.
_WRAPPERS = ("state", "state_dict", "model_state_dict")
_PREFIX = "model."


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint: bare, wrapped, or with Lightning's prefix.

    Args:
        path: a ``.safetensors`` file, or one that torch wrote.

    Raises:
        MssctlError: no such file (exit 3); not such a file, no tensors in it, or objects that
            would have to be run to be read (exit 4).
    """
    if not path.is_file():
        raise MssctlError(f"{path}: no such file", exit_code=ExitCode.ENVIRONMENT)
    tree: Any = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
    for wrapper in _WRAPPERS:
        if isinstance(tree, Mapping) and isinstance(tree.get(wrapper), Mapping):
            tree = tree[wrapper]
    if not isinstance(tree, Mapping) or not any(isinstance(v, Tensor) for v in tree.values()):
        raise MssctlError(f"{path}: no state dict in it")
    strange = [str(key) for key, value in tree.items() if not isinstance(value, Tensor)]
    if strange:
        raise MssctlError(f"{path}: '{strange[0]}' in its state dict is no tensor")
    state = {str(key): value for key, value in tree.items()}
    if all(key.startswith(_PREFIX) for key in state):
        state = {key.removeprefix(_PREFIX): value for key, value in state.items()}
    return state


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise MssctlError(f"{path}: cannot be read: {error}") from None


def _torch_file(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0].strip()
        raise MssctlError(
            f"{path}: not a checkpoint of plain tensors: {reason}",
            hint="save its state dict alone with the program that made it; nothing else is read",
        ) from None
    except EOFError:
        raise MssctlError(f"{path}: cannot be read: it ends too early") from None
    except (OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise MssctlError(f"{path}: cannot be read: {reason}") from None
