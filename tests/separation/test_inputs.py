"""Which songs an argument means."""

from __future__ import annotations

import inspect
import os
import sys
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


def relative(name: str, root: Path) -> str:
    return os.path.relpath(name, root) if Path(name).is_absolute() else name


def outcome(root: Path, *arguments: str | Path) -> tuple[list[str], dict[str, str]]:
    songs, failures = find_songs(arguments, root / "out")
    assert all("\n" not in error.message for _, error in failures)
    found = [os.path.relpath(song.path, root) for song in songs]
    return found, {relative(name, root): error.message for name, error in failures}


def test_links_in_a_circle_are_failures_and_the_songs_beside_them_are_found(music):
    (music / "sub" / "up").symlink_to("..")  # a folder: links to folders are not walked
    (music / "loop.wav").symlink_to("loop.wav")
    (music / "gone.wav").symlink_to("nowhere.wav")
    found, failures = outcome(music, music)
    assert found == ["a.flac", "b.wav", "sub/c.MP3"]
    assert "in a circle" in failures["loop.wav"]
    assert "No such file" in failures["gone.wav"]
    found, failures = outcome(music, music / "loop.wav" / "x", music / "b.wav")
    assert found == ["b.wav"]
    assert len(failures) == 1


def test_a_pattern_of_all_folders_does_not_follow_links_in_circles(music):
    for name in ("one", "two", "three"):
        (music / "sub" / name).symlink_to("..")  # followed, there would be 3 to the power of 40
    assert names(music, f"{music}/**/*.MP3") == ["sub/c.MP3"]
    assert sorted(names(music, f"{music}/**")) == ["a.flac", "b.wav", "sub/c.MP3"]


def test_patterns_leave_hidden_files_out_unless_they_name_them(music):
    assert names(music, f"{music}/*") == ["a.flac", "b.wav", "notes.txt", "sub/c.MP3"]
    assert names(music, f"{music}/.h*") == [".hidden.wav"]


def test_pipes_sockets_and_devices_are_no_songs(music):
    os.mkfifo(music / "pipe.wav")  # opened, it would never end
    found, failures = outcome(music, music, "/dev/null")
    assert found == ["a.flac", "b.wav", "sub/c.MP3"]
    assert sorted(message.split(": ", 1)[1] for message in failures.values()) == [
        "a device, not a file",
        "a pipe, not a file",
    ]
    assert outcome(music, music / "pipe.wav")[0] == []


@pytest.mark.parametrize("name", ["x" * 300 + ".wav", "x" * 300 + "*.wav", "a\0b.wav", " ", ""])
def test_a_name_that_no_file_can_have_fails_and_the_others_are_found(music, name):
    found, failures = outcome(music, name, music / "b.wav")
    assert found == ["b.wav"]
    assert len(failures) == 1


def test_names_of_any_bytes_are_found(music):
    name = os.fsdecode(b"bad\xff\n\x1b[31m.wav")
    (music / "sub" / name).touch()
    assert names(music, music / "sub") == [f"sub/{name}", "sub/c.MP3"]
    assert names(music, music / "sub" / name) == [f"sub/{name}"]


def frames() -> int:
    """How deep the stack is here."""
    count, frame = 0, inspect.currentframe()
    while frame:
        count, frame = count + 1, frame.f_back
    return count


def test_folders_nested_deeper_than_python_recurses_are_walked(tmp_path):
    depth = 250
    (tmp_path / ("d/" * depth)).mkdir(parents=True)
    (tmp_path / ("d/" * depth) / "song.wav").touch()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(frames() + depth - 50)
    try:
        songs, failures = find_songs([tmp_path], tmp_path / "out")
    finally:
        sys.setrecursionlimit(limit)
    assert [song.path.name for song in songs] == ["song.wav"]
    assert not failures


@pytest.mark.parametrize("argument", ["sub/c.MP3", "sub", "sub/*.MP3"])
def test_a_place_without_permission_is_a_failure_of_its_own(music, monkeypatch, argument):
    """As an ordinary user sees it; a test that root runs must pretend."""

    def closed(call):
        def refuse(path, *rest, **more):
            if "sub" in os.fspath(path):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return call(path, *rest, **more)

        return refuse

    monkeypatch.setattr(os, "scandir", closed(os.scandir))
    if argument != "sub":
        monkeypatch.setattr(os, "stat", closed(os.stat))
    found, failures = outcome(music, music / argument, music / "b.wav")
    assert found == ["b.wav"]
    assert "Permission denied" in failures[argument]


def test_a_folder_that_vanishes_is_a_failure_and_the_others_are_walked(music, monkeypatch):
    scandir = os.scandir

    def late(path):
        if Path(path).name == "sub":
            (music / "sub" / "c.MP3").unlink()
            (music / "sub").rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", late)
    found, failures = outcome(music, music)
    assert found == ["a.flac", "b.wav"]
    assert "No such file" in failures["sub"]
