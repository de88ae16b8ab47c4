"""``mssctl separate`` on the command line: flags, exit codes, stdout."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

from mssctl.cli.app import app
from mssctl.cli.session import run
from mssctl.results.common import FileFailure
from mssctl.results.separate import SeparatedSong, SeparateResult

DONE = SeparatedSong("song.wav", {"vocals": "out/vocals.wav"}, 2.0, 44_100, 2, 3.5, ["a note"])


@pytest.fixture
def asked(monkeypatch) -> SimpleNamespace:
    """What the task is asked for, and the result it gives."""
    seen = SimpleNamespace(songs=None, settings=None, done=[DONE], failures=[])

    def fake(songs, options, *, confirm, report) -> SeparateResult:
        seen.songs, seen.settings = songs, vars(options)
        return SeparateResult("starter", "cpu", "fp32", seen.done, seen.failures)

    monkeypatch.setattr("mssctl.api.separate.separate", fake)
    return seen


def separate(*arguments: str) -> int:
    return run(app, ["separate", *arguments])


def test_the_result_goes_to_stdout(asked, capsys):
    assert separate("song.wav") == 0
    out = capsys.readouterr().out
    assert "out/vocals.wav" in out
    assert "3.5 x real time" in out
    assert "a note" in out


def test_json_is_one_document(asked, capsys):
    assert separate("song.wav", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["exit_code"], document["error"]) == (0, None)
    assert document["data"]["songs"][0]["stems"] == {"vocals": "out/vocals.wav"}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {"name": None, "out": None, "format": "wav", "bit_depth": "auto"}),
        ([], {"existing": "error", "clip_mode": None, "fail_fast": False, "shifts": 1}),
        (["-n", "x", "-o", "y", "-d", "cpu"], {"name": ["x"], "out": Path("y"), "device": "cpu"}),
        (["-m", "x"], {"name": ["x"]}),
        (["--model", "x", "-n", "y"], {"name": ["x", "y"]}),
        (["--two-stems=vocals", "--other-method=minus"], {"other_method": "minus"}),
        (["--two-stems=vocals"], {"two_stems": "vocals", "other_method": None}),
        (["--stems", "a, b"], {"stems": ["a", "b"]}),
        (["--flac", "--int24"], {"format": "flac", "bit_depth": "24"}),
        (["--mp3"], {"format": "mp3"}),
        (["--float32"], {"bit_depth": "float32"}),
        (["--format", "flac", "--bit-depth", "16"], {"format": "flac", "bit_depth": "16"}),
        (["--clip-mode", "clamp"], {"clip_mode": "clamp"}),
        (["--segment", "7.8", "--overlap", "0.1"], {"segment": 7.8, "overlap": 0.1}),
        (["--batch", "4", "--shifts", "2", "--seed", "5"], {"batch": 4, "shifts": 2, "seed": 5}),
        (["--dtype", "bf16"], {"dtype": "bf16"}),
        (["--dtype", "fp16"], {"dtype": "fp16"}),
        (["--skip-existing"], {"existing": "skip"}),
        (["--overwrite"], {"existing": "overwrite"}),
        (["--fail-fast"], {"fail_fast": True}),
        (["--filename", "{stem}.{ext}"], {"filename": "{stem}.{ext}"}),
    ],
)
def test_every_flag_reaches_the_task(asked, flags, expected):
    assert separate("song.wav", *flags) == 0
    assert asked.songs == ["song.wav"]
    assert {key: asked.settings[key] for key in expected} == expected


@pytest.mark.parametrize(
    "flags",
    [
        ["--jobs", "2"],
        ["-j", "2"],
        ["--mp3-preset", "2"],
        ["--no-split"],
        ["--residual"],
        ["--retry-failed"],
        ["--repo", "x"],
        ["--offline"],
        ["--list-models"],
        ["--dtype", "fp8"],
        ["--clip-mode", "tanh"],
        ["--format", "wma"],
        ["--batch", "0"],
        ["--flac", "--mp3"],
        ["--int24", "--float32"],
        ["--format", "wav", "--flac"],
    ],
)
def test_a_flag_that_is_not_there_or_contradicts_is_refused_by_name(asked, flags, capsys):
    assert separate("song.wav", *flags) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert flags[0] in captured.err
    assert asked.songs is None


def test_names_with_a_dash_come_after_two_dashes(asked):
    assert separate("--float32", "--", "-song.wav", "Lied Ünï 歌.wav") == 0
    assert asked.songs == ["-song.wav", "Lied Ünï 歌.wav"]


def test_no_songs_is_wrong_usage(asked):
    assert separate() == 2


GONE = FileFailure("gone.wav", "no such file", None, 4)
FULL = FileFailure("b.wav", "out: cannot be written: the disk is full", "free some space", 3)


@pytest.mark.parametrize(
    ("done", "failures", "code"),
    [([DONE], [GONE], 1), ([], [GONE], 4), ([], [FULL], 3), ([], [GONE, FULL], 1)],
)
def test_failures_give_the_exit_code_and_are_listed(asked, capsys, done, failures, code):
    asked.done, asked.failures = done, failures
    assert separate("song.wav", "--json") == code
    captured = capsys.readouterr()
    for failure in failures:
        assert f"{failure.path}: {failure.error}" in captured.err
    document = json.loads(captured.out)
    assert document["exit_code"] == code
    assert [item["path"] for item in document["data"]["failures"]] == [f.path for f in failures]


def test_ctrl_c_is_130(monkeypatch, capsys):
    def interrupted(*_, **__) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mssctl.api.separate.separate", interrupted)
    assert separate("song.wav") == 130
    assert capsys.readouterr().out == ""


def test_an_unknown_model_is_an_error_of_the_environment(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    sf.write("song.wav", np.zeros((100, 2)), 8_000)
    assert separate("song.wav", "-n", "no-such-model") == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no model 'no-such-model'" in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]
