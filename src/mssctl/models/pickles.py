"""Reads checkpoints that PyTorch pickled, without running anything that is in them.

PyTorch's own restricted reader takes tensors and plain values. Added here is what public
separators also save: NumPy arrays, fractions, and the classes of their networks, of which only the
name is read.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from torch.serialization import safe_globals

from mssctl.errors import MssctlError


class Network:
    """Stands for the class of a network: its name says which one a file is for."""


_NETWORKS = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs")
_KINDS = "Bool Int8 UInt8 Int16 Int32 Int64 Float16 Float32 Float64".split()
_ALLOWED: list[Any] = [
    Fraction,
    np.ndarray,
    np.dtype,
    multiarray._reconstruct,
    (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),  # its name before NumPy 2
    *(getattr(np.dtypes, f"{kind}DType") for kind in _KINDS),
    *((type(name.rpartition(".")[2], (Network,), {}), name) for name in _NETWORKS),
]


def read(path: Path) -> Any:
    """What a file of PyTorch holds: dictionaries, lists, plain values and tensors on the CPU.

    Raises:
        MssctlError: damaged, or with objects that would have to be run to be read (exit 4).
    """
    try:
        with safe_globals(_ALLOWED):
            return _with_tensors(torch.load(path, map_location="cpu", weights_only=True))
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


def _with_tensors(value: Any, depth: int = 0) -> Any:
    """The same with tensors in place of arrays; arrays of objects are not taken."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Mapping) and depth < 8:
        return {name: _with_tensors(item, depth + 1) for name, item in value.items()}
    return value
