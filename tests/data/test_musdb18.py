"""``.stem.mp4``: decoded once, whole or not at all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mssctl.config.schema import AudioConfig
from mssctl.data import musdb18
from mssctl.data.cache import cache_folder
from mssctl.data.segments import read_song
from mssctl.data.training_set import find_songs
from mssctl.errors import ExitCode, MssctlError

AUDIO = AudioConfig()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MSSCTL_CACHE", str(tmp_path / "cache"))


def test_the_streams_are_the_stems_and_lie_where_they_did(tmp_path, make_stem_mp4, make_song):
    source = make_song(tmp_path / "song", sample_rate=44_100, frames=44_100)
    make_stem_mp4(tmp_path / "m/train/A - B.stem.mp4", source)
    make_stem_mp4(tmp_path / "m/train/Leaf - Summerghost.stem.mp4", source)
    songs = find_songs([tmp_path / "m"], AUDIO)
    assert [song.name for song in songs.train] == ["A - B"]
    assert [song.name for song in songs.valid] == ["Leaf - Summerghost"]
    audio = read_song(songs.train[0], AUDIO.stems, 2)
    for row, stem in zip(audio, AUDIO.stems, strict=True):
        wanted = soundfile.read(source / f"{stem}.wav", dtype="float32")[0].T
        got = row[:, : wanted.shape[1]]
        match = np.fft.irfft(np.fft.rfft(got) * np.fft.rfft(wanted).conj()).sum(0)
        assert np.argmax(match) == 0  # no delay
        if stem != "drums":  # noise, which AAC puts other noise in the place of
            assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > 0.85


def test_a_file_is_decoded_once_and_again_when_it_changed(tmp_path, make_stem_mp4, make_song):
    source = make_song(tmp_path / "song", sample_rate=44_100, frames=8_000)
    path = make_stem_mp4(tmp_path / "a.stem.mp4", source)
    first = musdb18.decoded(path)
    times = {file.stat().st_mtime_ns for file in first.values()}
    assert musdb18.decoded(path) == first
    assert {file.stat().st_mtime_ns for file in first.values()} == times
    path.write_bytes(path.read_bytes() + b"\0\0\0\x08free")
    assert musdb18.decoded(path) != first


def decoded_folders() -> list[Path]:
    folder = cache_folder() / "decoded"
    return list(folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("damage", ["garbage", "cut", "two streams"])
def test_a_damaged_file_is_named_and_leaves_nothing_behind(
    tmp_path, make_stem_mp4, make_song, damage
):
    source = make_song(tmp_path / "song", sample_rate=44_100, frames=88_200)
    path = make_stem_mp4(
        tmp_path / "ä.stem.mp4", source, streams=2 if damage == "two streams" else 5
    )
    if damage == "garbage":
        path.write_bytes(b"garbage")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9_000])
    with pytest.raises(MssctlError, match=r"ä\.stem\.mp4") as caught:
        musdb18.decoded(path)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert decoded_folders() == []


def test_a_cache_that_cannot_be_written_is_an_error_of_the_environment(
    tmp_path, make_stem_mp4, make_song, monkeypatch
):
    source = make_song(tmp_path / "song", sample_rate=44_100, frames=8_000)
    path = make_stem_mp4(tmp_path / "a.stem.mp4", source)
    (tmp_path / "file").touch()
    monkeypatch.setenv("MSSCTL_CACHE", str(tmp_path / "file"))
    with pytest.raises(MssctlError, match="cannot be written") as caught:
        musdb18.decoded(path)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert "MSSCTL_CACHE" in str(caught.value.hint)


def test_ffmpeg_is_not_asked_for_by_reading_the_list_of_tracks():
    code = "import os; os.environ['PATH'] = ''\n"
    code += "from mssctl.data.musdb18 import validation_tracks; validation_tracks()"
    import sys

    subprocess.run([sys.executable, "-c", code], check=True)
