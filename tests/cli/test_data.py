"""``mssctl data synth``."""

from __future__ import annotations

import pytest
import soundfile


def test_songs_are_made_without_samples(mssctl, tmp_path):
    out = tmp_path / "made songs"
    arguments = ["--hours", 4 / 3600, "--song-seconds", 2, "--valid-fraction", 0.5, "--workers", 1]
    document = mssctl("data", "synth", out, *arguments, "--json").document
    assert document["exit_code"] == 0
    assert document["data"]["splits"] == {"train": 1, "valid": 1}
    for split in ["train", "valid"]:
        folder = out / split / "song-00000"
        stems = sum(
            soundfile.read(folder / f"{stem}.wav", dtype="int16")[0].astype(int)
            for stem in ["vocals", "drums", "bass", "other"]
        )
        mixture = soundfile.read(folder / "mixture.wav", dtype="int16")[0]
        assert (stems == mixture).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--hours", 1, "--samples", "no/such/folder"], "no/such/folder"),
    ],
)
def test_bad_input_exits_4_with_a_sentence(mssctl, tmp_path, arguments, sentence):
    outcome = mssctl("data", "synth", tmp_path / "out", *arguments)
    assert (outcome.exit_code, outcome.stdout) == (4, "")
    assert sentence in outcome.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_left_alone(mssctl, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    outcome = mssctl("data", "synth", tmp_path, "--hours", 0.001)
    assert (outcome.exit_code, outcome.stdout) == (4, "")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_an_error_of_the_environment(mssctl, tmp_path):
    (tmp_path / "file").touch()
    outcome = mssctl("data", "synth", tmp_path / "file" / "songs", "--hours", 0.001)
    assert (outcome.exit_code, outcome.stdout) == (3, "")
    assert "a file is in the place of a folder" in outcome.stderr


def test_checking_a_sound_set_exits_0_and_shows_its_hours(mssctl, tmp_path, make_song):
    for place in ("train/a", "valid/b"):
        make_song(tmp_path / place, frames=8_000)
    outcome = mssctl("data", "check", tmp_path)
    assert outcome.exit_code == 0
    assert "layout stems; length of each stem" in outcome.stdout
    assert "2 songs: nothing wrong" in outcome.stdout


def test_checking_a_set_with_a_broken_file_exits_1_and_names_it(mssctl, tmp_path, make_song):
    for place in ("train/a", "valid/b"):
        make_song(tmp_path / place, frames=8_000)
    (tmp_path / "train/a/drums.wav").write_bytes(b"garbage")
    outcome = mssctl("data", "check", tmp_path, "--json")
    assert outcome.exit_code == 1
    assert "drums.wav" in outcome.stderr
    document = outcome.document
    assert document["data"]["songs"] == 1
    assert document["data"]["failures"][0]["path"].endswith("drums.wav")
    assert "drums.wav" in document["error"]["message"]


def test_checking_a_set_of_broken_files_only_exits_4(mssctl, tmp_path, make_song):
    make_song(tmp_path / "a", frames=8_000)
    (tmp_path / "a/drums.wav").write_bytes(b"garbage")
    assert mssctl("data", "check", tmp_path).exit_code == 4


def test_findings_of_a_kind_are_cut_short_on_the_screen_only(mssctl, tmp_path, make_song):
    for number in range(12):
        make_song(tmp_path / f"song {number}", stems=("vocals", "drums", "bass"), frames=800)
    outcome = mssctl("data", "check", tmp_path)
    assert outcome.exit_code == 0
    assert "missing: 12 findings" in outcome.stdout
    assert "and 2 more: --json lists them all" in outcome.stdout
    document = mssctl("data", "check", tmp_path, "--json").document
    assert len(document["data"]["findings"]) == 12


def test_every_layout_can_be_named():
    from typing import get_args

    from mssctl.data.layouts import LAYOUTS
    from mssctl.options.train import Layout

    assert set(get_args(Layout)) == {"auto", *LAYOUTS}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["nowhere"], 4), ([], 2), (["x", "--layout", "zip"], 2), ([".", "--stems", "a,a"], 2)],
)
def test_a_check_of_nothing_ends_with_a_sentence(mssctl, tmp_path, monkeypatch, arguments, code):
    monkeypatch.chdir(tmp_path)
    outcome = mssctl("data", "check", *arguments)
    assert (outcome.exit_code, outcome.stdout) == (code, "")
    assert outcome.stderr.startswith("error: ")
