"""Reads the files that official weights come in; nothing in them is ever run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mssctl.errors import ExitCode, MssctlError
from mssctl.models.kinds import SAFETENSORS, TORCH, hint_for, kind_of


def read_tree(path: Path) -> Any:
    """What a checkpoint holds: dictionaries, lists, numbers and tensors on the CPU.

    Args:
        path: a file that safetensors or PyTorch wrote, recognized by its content.

    Raises:
        MssctlError: no such file (exit 3); a file of another kind, damaged, or with objects that
            would have to be run to be read (exit 4).
    """
    try:
        kind = kind_of(path)
    except FileNotFoundError:
        raise MssctlError(f"{path}: no such file", exit_code=ExitCode.ENVIRONMENT) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MssctlError(f"{path}: cannot be read: {reason}") from None
    if kind == SAFETENSORS:
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise MssctlError(f"{path}: cannot be read: {error}") from None
    if kind != TORCH:
        raise MssctlError(f"{path}: {kind}, not a checkpoint", hint=hint_for(kind, path))
    return _torch_file(path)


def _torch_file(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 (damaged pickles raise whatever they reach)
        text = str(error)
    # PyTorch's own message also says how to switch this protection off.
    objects = re.search(r"GLOBAL ([\w.]{1,80})", text)
    if objects:
        raise MssctlError(
            f"{path}: not a checkpoint of plain tensors: it holds '{objects[1]}', which would have "
            "to be run to be read",
            hint="save its state dict alone with the program that made it; nothing else is read",
        )
    raise MssctlError(
        f"{path}: damaged, or not a checkpoint of plain tensors",
        hint="fetch it again, or save its state dict alone with the program that made it",
    )
