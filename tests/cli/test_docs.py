"""The generated pages in docs/ equal what the program says."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssctl.cli.docs import PAGES

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name):
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("words", [(), ("train",), ("data", "synth"), ("separate",)])
def test_the_page_holds_the_help_as_printed(mssctl, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    text = mssctl(*words, "--help").stdout.strip()
    assert f"```text\n{text}\n```" in (DOCS / "cli.md").read_text(encoding="utf-8")
