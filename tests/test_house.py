"""Bounds that keep the code easy to read: rooms, files, functions, signatures and words."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mssctl"
FILES = sorted(SOURCE.rglob("*.py"))
# Words that this project once used for "fix", "provenance", "as well", ...
WORDS = re.compile(r"\b(mend|mended|passport|likewise|untold|judges|judged)\b", re.IGNORECASE)
# Files that read what earlier versions wrote name its keys.
OLD_KEYS = {"passport": ("documents.py", "test_store.py", "same_results.py", "evaluation.md")}


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Each function of the source: where it is, and its node."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}", node


def arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in {"self", "cls", "ctx"}])


def test_no_room_is_a_house_of_its_own():
    rooms: Counter[str] = Counter()
    for path in FILES:
        room, *inside = path.relative_to(SOURCE).parts
        # Each architecture is a room of its own.
        rooms[f"models/{inside[0]}" if room == "models" and inside[1:] else room] += lines(path)
    total = sum(rooms.values())
    assert {room: size for room, size in rooms.items() if size > 0.15 * total} == {}
    assert rooms["api"] < 0.06 * total


def test_files_hold_one_idea():
    assert [f"{path} {lines(path)}" for path in FILES if lines(path) > 350] == []


def test_functions_fit_on_a_page():
    long = [place for place, node in functions() if node.end_lineno - node.lineno >= 60]
    assert long == []


def test_constructors_take_six_arguments_at_most():
    assert [p for p, node in functions() if node.name == "__init__" and arguments(node) > 6] == []


def test_public_functions_take_eight_parameters_at_most():
    public = [(p, node) for p, node in functions() if not node.name.startswith("_")]
    assert [place for place, node in public if arguments(node) > 8] == []


def test_no_room_has_a_folder_in_the_prefix_of_its_files():
    for folder in {path.parent for path in FILES}:
        prefixes = Counter(
            path.stem.split("_")[0] for path in folder.glob("*_*.py") if path.stem != "__init__"
        )
        assert {prefix for prefix, count in prefixes.items() if count > 2} <= {""}, folder


@pytest.mark.parametrize("folder", ["src", "docs", "tests", "README.md", "presets"])
def test_words_that_nobody_would_say_are_gone(folder):
    place = ROOT / folder
    paths = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
    found = []
    for path in paths:
        if path.suffix not in {".py", ".md", ".yaml", ".sh", ".j2"} or path == Path(__file__):
            continue
        found += [
            f"{path.relative_to(ROOT)}: {word}"
            for word in WORDS.findall(path.read_text(encoding="utf-8"))
            if not str(path).endswith(OLD_KEYS.get(word.lower(), ()))
        ]
    assert found == []
