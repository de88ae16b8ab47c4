"""The written pages name commands, options and results that exist."""

from __future__ import annotations

import dataclasses
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

import mssctl.results
from mssctl.cli.app import app
from mssctl.cli.docs import helps

DOCS = Path(__file__).resolve().parents[2] / "docs"
HELPS = dict(helps(get_command(app), "mssctl"))
GROUPS = ("eval", "data", "job", "models", "preset", "runs")


def lines(page: str) -> list[list[str]]:
    """The words of the `mssctl` lines in the code blocks of a page."""
    text = (DOCS / page).read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    found = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in found if line.startswith("mssctl ")]


@pytest.mark.parametrize("page", ["troubleshooting.md", "data.md", "training.md", "doctor.md"])
def test_commands_and_options_of_a_page_exist(page):
    assert lines(page)
    for words in lines(page):
        command = " ".join(words[: 3 if " ".join(words[:3]) in HELPS else 2])
        default = {"mssctl eval": "mssctl eval score", "mssctl runs": "mssctl runs list"}
        text = HELPS[default.get(command, command)]
        for word in words:
            if re.match(r"--?[a-z]", word):
                assert re.search(rf"(^|[\s,]){word}\b", text), (page, words, word)


def test_the_page_on_json_names_every_command_and_only_results_that_exist():
    text = (DOCS / "json.md").read_text(encoding="utf-8")
    groups = {f"mssctl {group}" for group in GROUPS} | {"mssctl"}
    for command in HELPS.keys() - groups:
        assert f"`{command.removeprefix('mssctl ')}`" in text, command
    folder = Path(mssctl.results.__file__).parent
    known = {
        name
        for path in folder.glob("*.py")
        for name, kind in vars(import_module(f"mssctl.results.{path.stem}")).items()
        if dataclasses.is_dataclass(kind)
    }
    table = "".join(line.split("|")[2] for line in text.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`([A-Z]\w+)`", table))
    assert len(named) > 15
    assert named <= known


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_between_pages_lead_somewhere(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([\w.-]+\.md)(?:#([\w-]+))?\)", text):
        there = DOCS / target
        assert there.is_file(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, (target, anchor)
