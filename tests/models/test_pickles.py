"""Pickles are read, and nothing in them is run."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mssctl.errors import ExitCode, MssctlError
from mssctl.models import pickles


def saved(path: Path, tree: Any) -> Path:
    torch.save(tree, path)
    return path


ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    np.arange(3, dtype=">i4"),
    np.zeros((0, 4), dtype=np.float16),
    np.array(True),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype} {array.shape}")
@pytest.mark.parametrize("protocol", ["zip", "legacy"])
def test_arrays_become_tensors(tmp_path, array, protocol):
    path = tmp_path / "x.pt"
    torch.save({"a": [array]}, path, _use_new_zipfile_serialization=protocol == "zip")
    tensor = pickles.read(path)["a"][0]
    assert tensor.shape == array.shape
    np.testing.assert_array_equal(tensor.numpy(), array)


def test_numbers_and_fractions_come_back(tmp_path):
    tree = {"score": np.float64(2.5), "segment": Fraction(39, 5), "epoch": np.int64(3)}
    assert pickles.read(saved(tmp_path / "x.pt", tree)) == tree


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([{"a": 1}], dtype=object), "NumPy array of Python objects"),
        (np.zeros(2, dtype=[("a", "f4")]), "NumPy array of type 'V4'"),
        (np.array(["text"]), "NumPy array of type 'U4'"),
        (np.zeros(1, dtype="M8[s]"), "NumPy array of type 'M8'"),
    ],
)
def test_arrays_of_anything_but_numbers_are_refused(tmp_path, value, message):
    with pytest.raises(MssctlError, match=message) as caught:
        pickles.read(saved(tmp_path / "x.pt", {"a": value}))
    assert caught.value.exit_code == ExitCode.BAD_INPUT


class Calls:
    """An object that pickle would make by calling ``function``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "trap",
    [
        Calls(os.mkdir, "trap"),
        Calls(eval, "__import__('os').mkdir('trap')"),
        Calls(np.load, "trap.npy"),
        Calls(np.ndarray, (10**12,)),
        Calls(Fraction, "1e999999999"),
        Calls(Fraction, "1/0"),
        Calls(np.dtype, "O"),
        Calls(getattr, "a", "upper"),
        Calls(bytes, 10**12),
    ],
    ids=lambda trap: trap.call[0].__name__,
)
def test_a_hostile_file_runs_nothing(tmp_path, monkeypatch, trap):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "x.pt", {"a": torch.ones(1), "b": trap})
    with pytest.raises(MssctlError, match=r"x\.pt") as caught:
        pickles.read(path)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert [each.name for each in tmp_path.iterdir()] == ["x.pt"]


def test_a_class_is_a_name_and_no_object(tmp_path, monkeypatch):
    import sys
    import types

    made = []
    kind = type(
        "HTDemucs",
        (),
        {"__module__": "demucs.htdemucs", "__setstate__": lambda self, state: made.append(state)},
    )
    module = types.ModuleType("demucs.htdemucs")
    module.HTDemucs = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "demucs", types.ModuleType("demucs"))
    monkeypatch.setitem(sys.modules, "demucs.htdemucs", module)
    path = saved(tmp_path / "x.pt", {"klass": kind})
    assert pickles.read(path) == {"klass": "demucs.htdemucs.HTDemucs"}
    thing = kind()
    thing.secret = 1
    with pytest.raises(MssctlError, match="not a checkpoint of plain tensors"):
        pickles.read(saved(tmp_path / "y.pt", {"klass": thing}))
    assert made == []
