"""docs/coming-from.md: each row of its tables does what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import soundfile as sf

from mssctl.cli.app import app
from mssctl.cli.equivalents import AUDIO_SEPARATOR, DEMUCS
from mssctl.cli.session import run

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
REFUSED = [(left.strip("`"), right) for left, right in ROWS if left.strip("`") in
           DEMUCS | AUDIO_SEPARATOR]  # fmt: skip
RUNS = [
    right.strip("`") for left, right in ROWS if re.fullmatch(r"`-[^`]*`", right)
    and left.strip("`") not in DEMUCS | AUDIO_SEPARATOR
]  # fmt: skip


def test_the_page_has_every_flag():
    assert {flag for flag, _ in REFUSED} == set(DEMUCS | AUDIO_SEPARATOR)
    assert len(RUNS) == 25


@pytest.mark.parametrize(("flag", "words"), REFUSED)
def test_a_flag_that_is_not_here_is_refused_with_these_words(flag, words, capsys):
    assert run(app, ["separate", "song.wav", flag]) == 2
    error = capsys.readouterr().err
    assert flag in error
    assert words in error.replace("\n", "")


@pytest.mark.parametrize("flags", RUNS)
def test_a_flag_that_is_here_runs(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seen = []

    def fake(songs, options, *, confirm, report):
        seen.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr("mssctl.api.separate.separate", fake)
    sf.write("song.wav", [0.0] * 100, 44_100)
    code = run(app, ["separate", "song.wav", *shlex.split(flags.replace("DIR", "out"))])
    captured = capsys.readouterr()
    if flags == "-h":
        assert (code, seen) == (0, [])
        assert "--two-stems" in captured.out
    else:
        assert code == 130
        assert len(seen) == 1
