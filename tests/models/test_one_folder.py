"""Nothing outside of ``models`` knows an architecture by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mssctl
from mssctl.models.registry import ARCHITECTURES

SOURCE = Path(mssctl.__file__).parent
FILES = [path for path in SOURCE.rglob("*.py") if SOURCE / "models" not in path.parents]


def own_keys() -> set[str]:
    """The keys that only one architecture has."""
    keys = [set(one.config.model_fields) for one in ARCHITECTURES.values()]
    return {key for some in keys for key in some if sum(key in other for other in keys) == 1}


def is_own_key(node: ast.Attribute) -> bool:
    """Whether it reads such a key of a section ``model``."""
    of = getattr(node.value, "attr", getattr(node.value, "id", ""))
    return node.attr in KEYS or (of == "model" and node.attr in own_keys())


NAMES = set(ARCHITECTURES)
KEYS = {"front_end", "freqs_per_bands", "scan_backend"}
CLASSES = {one.config.__name__ for one in ARCHITECTURES.values()} | {"TFLocoformer", "BSMamba2"}


def breaches(tree: ast.AST) -> Iterator[str]:
    """What breaks the rule, in words."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            found = [f"{module}{alias.name}" for alias in node.names]
            for name in NAMES:
                if any(f"{one}.".startswith(f"mssctl.models.{name}.") for one in found):
                    yield f"line {node.lineno}: imports {name}"
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            if {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} & CLASSES:
                yield f"line {node.lineno}: isinstance against an architecture's class"
        elif isinstance(node, ast.Compare):
            texts = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
            attributes = [part for part in ast.walk(node) if isinstance(part, ast.Attribute)]
            own = any(is_own_key(part) for part in attributes)
            if own or texts & (NAMES | KEYS):
                yield f"line {node.lineno}: compares with a name or key of an architecture"


def test_no_file_outside_knows_an_architecture() -> None:
    found = {str(path): list(breaches(ast.parse(path.read_text()))) for path in FILES}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from mssctl.models.bsmamba2 import scans",
        "import mssctl.models.tf_locoformer.model",
        "isinstance(config.model, BSMamba2Config)",
        "config.model.name == 'bsmamba2'",
        "config.model.front_end == x",
    ],
)
def test_a_breach_is_found(line: str) -> None:
    assert list(breaches(ast.parse(line)))
