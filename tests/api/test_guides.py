"""docs/guides.md and its Korean twin: their tables of keys are what `preset import` does.

`python tests/api/test_guides.py` (with `src` on the path) writes the tables again.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mssctl.models.foreign import flatten, translate
from mssctl.models.registry import ARCHITECTURES

try:
    from tests.api.test_import_preset import BSMAMBA2, LOCOFORMER
except ImportError:  # pytest puts this folder on the path
    from test_import_preset import BSMAMBA2, LOCOFORMER

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "guides.md", DOCS / "guides.ko.md"]
FILES = {"tf_locoformer": LOCOFORMER, "bsmamba2": BSMAMBA2}


def table(tree: dict[str, Any]) -> str:
    """Every key of a file, and what became of it."""
    programs = [one for kind in ARCHITECTURES.values() for one in kind.foreign_presets()]
    program = next(one for one in programs if one.recognizes(flatten(tree)))
    found = translate(tree, program)
    rows = []
    for key in flatten(tree):
        here = f"`{found.carried[key]}`" if key in found.carried else f"— {found.left_out[key]}"
        rows.append(f"| `{key}` | {here.replace('`always so here`', 'always so here')} |\n")
    return "".join(rows)


def parts(page: Path) -> dict[str, str]:
    """What stands between the marks of each table."""
    text = page.read_text(encoding="utf-8")
    pattern = r"<!-- keys of (\w+) -->\n\|.*\n\| --- \| --- \|\n((?:\|.*\n)*)"
    return dict(re.findall(pattern, text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize("name", FILES)
def test_the_table_of_keys_is_what_preset_import_does(page, name):
    assert parts(page)[name] == table(FILES[name])


def test_both_languages_have_the_same_headings_and_tables():
    english, korean = (page.read_text(encoding="utf-8") for page in PAGES)
    for pattern in (r"^#+ ", r"^\| --- ", r"^```", r"^<!--.*-->$"):
        one, other = (re.findall(pattern, text, re.MULTILINE) for text in (english, korean))
        assert one == other
    rows = [len(re.findall(r"^\|", text, re.MULTILINE)) for text in (english, korean)]
    assert rows[0] == rows[1]
    commands = [re.findall(r"^mssctl [^#\n]*", text, re.MULTILINE) for text in (english, korean)]
    assert commands[0] == commands[1]


if __name__ == "__main__":
    for path in PAGES:
        content = path.read_text(encoding="utf-8")
        for kind, rows in parts(path).items():
            mark = f"<!-- keys of {kind} -->\n"
            head, _, rest = content.partition(mark)
            lines = rest.splitlines(keepends=True)
            kept = "".join(lines[:2])
            content = head + mark + kept + table(FILES[kind]) + rest[len(kept) + len(rows) :]
        path.write_text(content, encoding="utf-8")
