"""Which songs a training run reads, and what it says about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from mssctl.config.schema import AudioConfig
from mssctl.data.training_set import find_songs
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Event, Notice

AUDIO = AudioConfig(sample_rate=8_000)


def test_split_folders_give_the_two_splits(tmp_path, make_song):
    for place in ("train/a", "train/b", "valid/c", "test/d"):
        make_song(tmp_path / place)
    songs = find_songs([tmp_path], AUDIO)
    assert [song.name for song in songs.train] == ["a", "b"]
    assert [song.name for song in songs.valid] == ["c"]


def test_a_folder_of_songs_and_a_held_out_folder_apart(tmp_path, make_song):
    for place in ("music/b", "music/a", "held/c"):
        make_song(tmp_path / place, suffix="flac")
    songs = find_songs([tmp_path / "music"], AUDIO, valid=tmp_path / "held")
    assert [song.name for song in songs.train] == ["a", "b"]
    assert [song.name for song in songs.valid] == ["c"]


def test_several_roots_are_pooled(tmp_path, make_song):
    for place in ("x/train/a", "x/valid/v", "y/b"):
        make_song(tmp_path / place)
    songs = find_songs([tmp_path / "x", tmp_path / "y"], AUDIO)
    assert [song.name for song in songs.train] == ["a", "b"]


def test_the_test_split_is_out_of_reach(tmp_path, make_song):
    for place in ("a", "test/d", "held/c"):
        make_song(tmp_path / place)
    songs = find_songs([tmp_path], AUDIO, valid=tmp_path / "held")
    assert [song.name for song in songs.train] == ["a"]
    for roots, valid in (([tmp_path / "test"], "held"), ([tmp_path], "test")):
        with pytest.raises(MssctlError, match="a test split is not for training"):
            find_songs(roots, AUDIO, valid=tmp_path / valid)


def test_without_held_out_songs_nothing_starts(tmp_path, make_song):
    make_song(tmp_path / "a")
    with pytest.raises(MssctlError, match="no held-out songs") as caught:
        find_songs([tmp_path], AUDIO)
    assert "--valid" in str(caught.value.hint)


def test_a_song_cannot_be_in_both_splits(tmp_path, make_song):
    make_song(tmp_path / "a")
    with pytest.raises(MssctlError, match="the same song is in training and validation"):
        find_songs([tmp_path], AUDIO, valid=tmp_path)


def test_what_songs_lack_is_said_and_is_silence(tmp_path, make_song):
    make_song(tmp_path / "train/a")
    make_song(tmp_path / "train/b", stems=("vocals", "drums"))
    make_song(tmp_path / "valid/c", channels=1)
    soundfile.write(tmp_path / "train/a/bass.wav", np.zeros((99, 2)), 8_000)
    events: list[Event] = []
    songs = find_songs([tmp_path], AUDIO, report=events.append)
    said = [event.message for event in events if isinstance(event, Notice)]
    assert said == [
        "1 of 2 training songs have no bass (first: b): silence",
        "1 of 2 training songs have no other (first: b): silence",
        "1 training songs have stems of unequal length (first: a): silence after the end",
        "4 validation stems are mono: copied to both channels",
    ]
    assert set(songs.train[1].stems) == {"vocals", "drums"}
    assert songs.train[0].frames == 16_000


@pytest.mark.parametrize(
    ("song", "message"),
    [
        ({"sample_rate": 16_000}, "16000 Hz, the model works at 8000 Hz"),
        ({"channels": 6}, "6 channels, the model has 2"),
        ({"stems": ("vocals",)}, "no training song has the stem 'drums'"),
        ({"stems": ("piano",)}, "no songs here"),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path, make_song, song, message):
    make_song(tmp_path / "train/a", **song)
    make_song(tmp_path / "valid/b")
    with pytest.raises(MssctlError, match=message):
        find_songs([tmp_path], AUDIO)


def test_a_broken_file_is_named(tmp_path, make_song):
    make_song(tmp_path / "train/a")
    make_song(tmp_path / "valid/b")
    (tmp_path / "train/a/drums.wav").write_text("no audio")
    with pytest.raises(MssctlError, match=r"train/a/drums\.wav"):
        find_songs([tmp_path], AUDIO)


def test_one_stem_in_two_files_is_ambiguous(tmp_path, make_song):
    make_song(tmp_path / "train/a")
    make_song(tmp_path / "valid/b")
    (tmp_path / "train/a/drums.flac").write_bytes(b"")
    with pytest.raises(MssctlError, match="which one"):
        find_songs([tmp_path], AUDIO)


def test_unknown_layout_and_missing_folder(tmp_path):
    with pytest.raises(MssctlError, match="no data layout 'song'") as caught:
        find_songs([tmp_path], AUDIO, layout="song")
    assert caught.value.exit_code == ExitCode.USAGE
    with pytest.raises(MssctlError, match="no such folder"):
        find_songs([Path(tmp_path / "nowhere")], AUDIO)


def test_folders_without_a_stem_are_named(tmp_path, make_song):
    for place in ("train/a", "valid/c"):
        make_song(tmp_path / place)
    make_song(tmp_path / "train" / "misspelt", stems=("vocal",))
    (tmp_path / "train" / "test").mkdir()
    events: list[Event] = []
    assert len(find_songs([tmp_path], AUDIO, report=events.append).train) == 1
    (notice,) = events
    assert isinstance(notice, Notice)
    assert notice.message == f"{tmp_path / 'train'}: 1 folder without a stem skipped: misspelt"
