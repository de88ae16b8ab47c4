"""Which songs an argument means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mssctl.separation.inputs import find_songs


@pytest.fixture
def music(tmp_path: Path) -> Path:
    root = tmp_path / "music"
    for name in ("b.wav", "a.flac", "notes.txt", ".hidden.wav", "sub/c.MP3", ".git/d.wav"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def names(root: Path, *arguments: str | Path, out: str = "separated") -> list[str]:
    songs, failures = find_songs(arguments, root / out)
    assert not failures
    return [song.path.relative_to(root).as_posix() for song in songs]


def test_folders_are_walked_without_hidden_and_other_files(music):
    assert names(music, music) == ["a.flac", "b.wav", "sub/c.MP3"]


def test_the_place_below_the_folder_is_known(music):
    songs, _ = find_songs([music, music / "b.wav"], music / "out")
    assert [song.folder for song in songs] == [".", ".", "sub"]
    (direct,), _ = find_songs([music / "b.wav"], music / "out")
    assert direct.folder == "music"


def test_earlier_outputs_are_not_taken_for_songs(music):
    (music / "separated" / "x").mkdir(parents=True)
    (music / "separated" / "x" / "vocals.wav").touch()
    assert names(music, music) == ["a.flac", "b.wav", "sub/c.MP3"]
    assert "separated/x/vocals.wav" in names(music, music, out=".")


def test_patterns_find_files_and_folders(music):
    assert names(music, f"{music}/*.wav") == ["b.wav"]
    assert names(music, f"{music}/s*") == ["sub/c.MP3"]


def test_a_name_that_exists_is_no_pattern(music):
    (music / "[ab].wav").touch()
    assert names(music, music / "[ab].wav") == ["[ab].wav"]


def test_a_song_named_twice_comes_once(music):
    assert names(music, music / "b.wav", music / "sub" / ".." / "b.wav") == ["b.wav"]


def test_a_folder_without_audio_and_a_pattern_without_match_are_failures(tmp_path):
    songs, failures = find_songs([tmp_path, tmp_path / "*.wav"], tmp_path / "out")
    assert songs == []
    assert "no audio files in this folder" in failures[0][1].message
    assert "no file matches this pattern" in failures[1][1].message


def test_a_missing_file_is_left_for_the_reader_to_complain(tmp_path):
    songs, failures = find_songs([tmp_path / "gone.wav"], tmp_path / "out")
    assert [song.path.name for song in songs] == ["gone.wav"]
    assert failures == []


def test_a_folder_that_cannot_be_read_is_a_failure_and_the_others_are_walked(music, monkeypatch):
    scandir = os.scandir

    def closed(path: str) -> object:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    songs, ((folder, error),) = find_songs([music], music / "out")
    assert [song.path.name for song in songs] == ["a.flac", "b.wav"]
    assert folder == str(music / "sub")
    assert "cannot be read: Permission denied" in error.message
