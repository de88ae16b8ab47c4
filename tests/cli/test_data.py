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
        (["--hours", 0], "must be more than 0"),
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
