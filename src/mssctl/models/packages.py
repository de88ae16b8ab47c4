"""Files that bring their configuration along, and bags of them.

A package names its class and the arguments of its constructor, ``klass``, ``args`` and ``kwargs``:
next to ``state`` in a pickle, or as JSON in the metadata of a safetensors file. A bag is a YAML
file that names several packages beside it, ``models``, and their ``weights`` per stem.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mssctl.documents import parse_json, read_yaml
from mssctl.errors import MssctlError, shown

_KEYS = ("klass", "args", "kwargs")
_NAME = re.compile(r"\w[\w-]{0,63}")
_MOST = 16  # models of a bag


def with_state(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Any:
    """The tensors of a safetensors file, with what its metadata says if it is a package.

    Raises:
        MssctlError: its arguments are no JSON.
    """
    if not all(key in metadata for key in _KEYS):
        return tensors
    args, kwargs = (parse_json(metadata[key], f"its metadata: {key}") for key in _KEYS[1:])
    return {"klass": metadata["klass"], "args": args, "kwargs": kwargs, "state": tensors}


def stated(tree: Any) -> dict[str, Any]:
    """What the content of a file says of its configuration; nothing if it is no package."""
    if not isinstance(tree, Mapping) or not isinstance(tree.get("kwargs"), Mapping):
        return {}
    return {key: tree[key] for key in _KEYS if key in tree}


def bag_of(packages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The configuration of several nets in one, ``bag`` their equal weights; of one, as it is.

    Raises:
        MssctlError: the nets are not of the same class and arguments.
    """
    first, *others = packages
    if any(other != first for other in others):
        raise MssctlError("the models of the bag have different arguments")
    if not others:
        return first
    stems = len(first.get("kwargs", {}).get("sources", ()))
    return {**first, "bag": [[1.0] * stems for _ in packages]}


def is_bag(path: Path) -> bool:
    """Whether the name is that of a bag."""
    return path.suffix in (".yaml", ".yml")


def read_bag(path: Path) -> tuple[list[Path], list[list[float]]]:
    """The packages of a bag, and for each of them the weights of its stems; none: all the same.

    Raises:
        MssctlError: no such file (exit 3), no bag, or a package that is not there (exit 4).
    """
    tree = read_yaml(path, foreign=True)
    names, weights = tree.get("models"), tree.get("weights")
    if not isinstance(names, list) or not 1 <= len(names) <= _MOST or set(tree) - _BAG:
        raise MssctlError(
            f"{path}: not a bag of models",
            hint="a checkpoint is given itself, and its YAML file with --config",
        )
    if weights is not None and (not isinstance(weights, list) or len(weights) != len(names)):
        raise MssctlError(f"{path}: weights: expected {len(names)} rows, one for each model")
    rows = [_row(row, path) for row in weights or []]
    return [_beside(path, name) for name in names], rows


_BAG = {"models", "weights"}


def _row(row: Any, path: Path) -> list[float]:
    if not isinstance(row, list) or not all(type(value) in (int, float) for value in row):
        raise MssctlError(f"{path}: weights: expected a list of numbers, got {shown(row)}")
    return [float(value) for value in row]


def _beside(bag: Path, name: Any) -> Path:
    """The file of a package: with that name, or in front of a checksum."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        exact = [bag.parent / f"{name}{suffix}" for suffix in (".safetensors", ".th")]
        for path in [*exact, *sorted(bag.parent.glob(f"{name}-*.th"))]:
            if path.is_file():
                return path
    raise MssctlError(
        f"{bag}: model {shown(name)} is not beside it",
        hint=f"put its file, such as {name}.safetensors, into the same folder",
    )
