"""Room, speed, songs and the cache: each check as it fails."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import pytest

from mssctl.checks import storage as checks
from mssctl.checks.findings import GIB
from mssctl.options.doctor import DoctorOptions


def look(check, settings):
    (finding,) = check(settings)
    assert (finding.state == "ok") == (finding.remedy is None)
    return finding


@pytest.fixture
def disk(monkeypatch):
    """A disk with this much room, that writes and reads at this speed in MiB/s."""

    def make(free=100 * GIB, speed=500.0):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
        monkeypatch.setattr(checks, "_write_speed", lambda folder: speed)
        monkeypatch.setattr(checks, "_read_speed", lambda path: speed)

    return make


@pytest.mark.parametrize(
    ("free", "speed", "state"),
    [
        (100 * GIB, 500.0, "ok"),
        (1 * GIB, 500.0, "warning"),
        (100 * GIB, 5.0, "warning"),
        (1000, 500.0, "failed"),
    ],
)
def test_room_and_speed_where_results_go(disk, tmp_path, free, speed, state):
    disk(free, speed)
    assert look(checks.output, DoctorOptions(out=str(tmp_path / "not" / "yet"))).state == state


def test_the_speed_is_measured_and_nothing_is_left(tmp_path):
    finding = look(checks.output, DoctorOptions(out=str(tmp_path)))
    assert "MiB/s" in finding.summary
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_files_fails(monkeypatch, tmp_path):
    def refuse(**rest):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checks.tempfile, "NamedTemporaryFile", refuse)
    finding = look(checks.output, DoctorOptions(out=str(tmp_path)))
    assert finding.state == "failed"
    assert "Permission denied" in finding.summary


def test_no_training_data_is_a_note(monkeypatch):
    monkeypatch.delenv("MUSDB_PATH", raising=False)
    assert look(checks.data, DoctorOptions()).state == "note"


@pytest.mark.parametrize("word", ["MUSDB_PATH", "--data"])
def test_a_path_to_nowhere_fails_and_says_who_gave_it(monkeypatch, tmp_path, word):
    path = str(tmp_path / "nowhere")
    if word == "MUSDB_PATH":
        monkeypatch.setenv(word, path)
    finding = look(checks.data, DoctorOptions(data=None if word == "MUSDB_PATH" else path))
    assert finding.state == "failed"
    assert finding.summary == f"{word} is {path}: no such folder"


def test_a_folder_without_songs_fails(tmp_path):
    (tmp_path / "train").mkdir()
    finding = look(checks.data, DoctorOptions(data=str(tmp_path)))
    assert finding.state == "failed"
    assert "no songs here" in finding.summary


def test_songs_are_counted_by_split(tmp_path, make_song, disk):
    disk()
    make_song(tmp_path / "train" / "Ünï 歌", frames=100)
    make_song(tmp_path / "train" / "b", frames=100)
    make_song(tmp_path / "valid" / "c", frames=100)
    make_song(tmp_path / ".trash" / "d", frames=100)
    finding = look(checks.data, DoctorOptions(data=str(tmp_path)))
    assert finding.state == "ok"
    assert "train 2, valid 1" in finding.summary


def test_musdbs_compressed_songs_are_found(tmp_path, disk):
    disk()
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "A - B.stem.mp4").touch()
    (tmp_path / "train" / "C - D.stem.mp4").touch()
    assert "train 2" in look(checks.data, DoctorOptions(data=str(tmp_path))).summary


def test_a_folder_among_the_songs_that_may_not_be_read_is_a_warning(
    tmp_path, make_song, disk, monkeypatch
):
    disk()
    make_song(tmp_path / "a", frames=100)
    make_song(tmp_path / "locked", frames=100)
    scan = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    finding = look(checks.data, DoctorOptions(data=str(tmp_path)))
    assert finding.state == "warning"
    assert finding.details == [f"cannot be read: {tmp_path / 'locked'}"]


def test_a_lone_file_is_no_song(tmp_path):
    (tmp_path / "mix.wav").touch()
    assert "no songs here" in look(checks.data, DoctorOptions(data=str(tmp_path))).summary


def test_a_file_in_the_place_of_the_output_folder_fails(tmp_path):
    (tmp_path / "file").touch()
    assert look(checks.output, DoctorOptions(out=str(tmp_path / "file"))).state == "failed"


def test_songs_for_tests_alone_are_a_warning(tmp_path, make_song, disk):
    disk()
    make_song(tmp_path / "test" / "c", frames=100)
    assert look(checks.data, DoctorOptions(data=str(tmp_path))).state == "warning"


def test_a_slow_disk_of_songs_is_a_warning(tmp_path, make_song, disk):
    disk(speed=3.0)
    make_song(tmp_path / "a", frames=100)
    finding = look(checks.data, DoctorOptions(data=str(tmp_path)))
    assert finding.state == "warning"
    assert "local disk" in finding.remedy


def test_songs_that_may_not_be_read_fail(monkeypatch, tmp_path):
    def refuse(root):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checks, "_songs", refuse)
    assert look(checks.data, DoctorOptions(data=str(tmp_path))).state == "failed"


def test_a_huge_folder_is_not_walked_to_its_end(monkeypatch, tmp_path, make_song, disk):
    disk()
    monkeypatch.setattr(checks, "LOOK_AT", 5)
    for number in range(9):
        make_song(tmp_path / f"song {number}", frames=10)
    assert " or more" in look(checks.data, DoctorOptions(data=str(tmp_path))).summary


def test_the_speed_of_reading_is_told_for_files_that_are_large_enough(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(4 * checks.MIB))
    assert checks._read_speed(path) > 0
    path.write_bytes(b"short")
    assert checks._read_speed(path) is None


def test_a_cache_that_can_be_written_is_all_right_and_not_made(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    finding = look(checks.cache, DoctorOptions())
    assert finding.state == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_a_warning(monkeypatch, tmp_path):
    def refuse(**rest):
        raise OSError(30, os.strerror(30))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(checks.tempfile, "TemporaryFile", refuse)
    finding = look(checks.cache, DoctorOptions())
    assert finding.state == "warning"
    assert "XDG_CACHE_HOME" in finding.remedy


def test_a_user_without_a_home_is_a_warning(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", homeless)
    assert look(checks.cache, DoctorOptions()).state == "warning"
