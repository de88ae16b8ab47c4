"""Checkpoints that PyTorch pickled, read without running anything in them.

Beside tensors, an allow-list lets through what public checkpoints hold: NumPy arrays and numbers,
fractions, and the names of classes. Stand-ins take the place of all of them, so that not even
NumPy's own reconstructors see what a file says.
"""

import pickle
import re
from collections.abc import Mapping
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mssctl.errors import MssctlError, shown

# Classes whose names files hold, to say what network they are of.
_NAMED = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs")
_DTYPES = re.compile(r"[<>=|]?(f[248]|[iu][1248]|b1)")
_WHOLE = re.compile(r"-?\d{1,9}(/\d{1,9})?")


def read(path: Path) -> Any:
    """What a checkpoint of PyTorch holds; arrays become tensors, classes their names.

    Raises:
        MssctlError: damaged, or with objects that would have to be run to be read (exit 4).
    """
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            tree = torch.load(path, map_location="cpu", weights_only=True)
        return _plain(tree)
    except MemoryError:
        raise
    except MssctlError as error:
        raise MssctlError(f"{path}: {error.message}", error.hint) from None
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


class _Fraction:
    """Stands for `fractions.Fraction`, of whole numbers with up to nine digits."""

    def __new__(cls, *args: Any) -> Any:
        text = "/".join(str(part) for part in args[:2] if type(part) in (int, str))
        if not _WHOLE.fullmatch(text) or text.endswith("/0"):
            raise pickle.UnpicklingError("a fraction")
        return Fraction(text)


class _NoBytes:
    """Stands for `bytes`, which is called for empty ones."""

    def __new__(cls) -> Any:
        return b""


class _DType:
    """Stands for `numpy.dtype`."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not _DTYPES.fullmatch(code):
            kind = "Python objects" if code in ("O", "O8", "|O") else f"type {shown(code)}"
            raise MssctlError(f"it holds a NumPy array of {kind}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Of ``(version, byte order, subtype, names, fields, ...)`` the byte order counts."""
        _, order, subtype, names, fields, *_ = state
        if subtype is not None or names is not None or fields is not None:
            raise MssctlError("it holds a NumPy array of records")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)

    def read(self, data: Any) -> NDArray[Any]:
        """Numbers in the machine's byte order."""
        if not isinstance(data, bytes):
            raise pickle.UnpicklingError("not bytes")
        return np.frombuffer(data, self.dtype).astype(self.dtype.newbyteorder("="))


class _Array:
    """Stands for `numpy.ndarray` and what makes an empty one."""

    tensor: torch.Tensor | None = None

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        """``(version, shape, dtype, whether columns come first, data)``."""
        _, shape, dtype, columns, data = state
        sizes = [size for size in shape if type(size) is int and size >= 0]
        values = dtype.read(data)
        if len(sizes) != len(shape) or prod(sizes) != len(values):
            raise pickle.UnpicklingError("shape")
        order = "F" if columns else "C"
        self.tensor = torch.from_numpy(values.reshape(sizes, order=order).copy(order="C"))


class _Scalar:
    """Stands for what makes a number of NumPy."""

    def __new__(cls, dtype: Any, data: Any) -> Any:
        return dtype.read(data).item()


def _name(path: str) -> type:
    """A class that stands for another; nothing can be made of it."""

    def refuse(*_: Any) -> Any:
        raise pickle.UnpicklingError(f"an object of {path}")

    return type(path, (), {"__new__": refuse})


_CLASSES = {path: _name(path) for path in _NAMED}
_ALLOWED: list[Any] = [
    *((stand_in, path) for path, stand_in in _CLASSES.items()),
    (_Fraction, "fractions.Fraction"),
    (_NoBytes, "builtins.bytes"),
    (_DType, "numpy.dtype"),
    (_Array, "numpy.ndarray"),
    *(
        (stand_in, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, stand_in in (("_reconstruct", _Array), ("scalar", _Scalar))
    ),
]


def _plain(tree: Any) -> Any:
    """Put what they stand for in the place of stand-ins, in tables and lists."""
    holder = [tree]
    waiting: list[Any] = [holder]
    seen: set[int] = set()
    while waiting:
        table = waiting.pop()
        if id(table) in seen:
            continue
        seen.add(id(table))
        pairs = list(table.items()) if isinstance(table, Mapping) else list(enumerate(table))
        for key, value in pairs:
            if isinstance(value, dict | list):
                waiting.append(value)
            elif isinstance(value, _Array):
                if value.tensor is None:
                    raise MssctlError("it holds a NumPy array without data")
                table[key] = value.tensor
            elif isinstance(value, type) and value.__name__ in _CLASSES:
                table[key] = value.__name__
    return holder[0]
