"""Formats that libsndfile lacks go through ffmpeg, or are refused by a message that names it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mssctl.audio import files
from mssctl.audio.decode import check, readable
from mssctl.errors import MssctlError


@pytest.fixture
def m4a(tmp_path: Path) -> Path:
    path = tmp_path / "songs" / "song.m4a"
    path.parent.mkdir()
    path.write_bytes(b"\0\0\0 ftypM4A and more")
    return path


def install(monkeypatch, tmp_path: Path, script: str) -> None:
    """Put a program called ffmpeg first on the path."""
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


def test_without_ffmpeg_the_message_names_it(m4a, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MssctlError, match=r"song\.m4a: \.m4a files need ffmpeg") as caught:
        check(m4a)
    assert "install ffmpeg" in (caught.value.hint or "")


def test_a_text_file_called_wav_is_no_audio(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "notes.wav"
    path.write_text("not music")
    with pytest.raises(MssctlError, match=r"notes\.wav: not an audio file"):
        check(path)


def test_ffmpeg_decodes_to_a_copy_that_is_gone_afterwards(m4a, monkeypatch, tmp_path):
    decoded = tmp_path / "decoded.w64"
    samples = np.linspace(-0.5, 0.5, 200, dtype=np.float32).reshape(100, 2)
    sf.write(decoded, samples, 8_000, format="W64", subtype="FLOAT")
    # The target is the last argument, as file:PATH; "-" is for a look at the header only.
    write = f'for last; do :; done; [ "$last" = - ] || cat {decoded} > "${{last#file:}}"'
    install(monkeypatch, tmp_path, write)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert check(m4a) is None
    with readable(m4a, scratch) as info:
        assert info.path.parent == scratch
        assert (info.frames, info.sample_rate, info.subtype) == (100, 8_000, "PCM_24")
        np.testing.assert_array_equal(files.read(info.path), samples.T)
    assert list(scratch.iterdir()) == []


def test_what_ffmpeg_cannot_read_either_is_refused_with_its_words(m4a, monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "echo Invalid data >&2; exit 1")
    with (
        pytest.raises(MssctlError, match="libsndfile or ffmpeg") as caught,
        readable(m4a, tmp_path),
    ):
        pass
    assert caught.value.hint == "ffmpeg says: Invalid data"
    assert not list(tmp_path.glob(".mssctl*"))


def test_an_error_about_the_copy_names_the_original(m4a, monkeypatch, tmp_path):
    decoded = tmp_path / "decoded.w64"
    sf.write(decoded, np.zeros((100, 2), np.float32), 8_000, format="W64", subtype="FLOAT")
    write = f'for last; do :; done; [ "$last" = - ] || cat {decoded} > "${{last#file:}}"'
    install(monkeypatch, tmp_path, write)
    with pytest.raises(MssctlError) as caught, readable(m4a, tmp_path) as info:
        raise MssctlError(f"{info.path}: NaN at 0.1 s", "a hint", 4)
    assert caught.value.message == f"{m4a}: NaN at 0.1 s"
    assert caught.value.hint == "a hint"


def test_files_that_libsndfile_reads_are_read_in_place(tmp_path):
    path = tmp_path / "song.flac"
    sf.write(path, np.zeros((10, 1)), 8_000)
    with readable(path, tmp_path) as info:
        assert info.path == path


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_the_real_ffmpeg_reads_a_song_and_refuses_text_and_damage(tmp_path):
    wav, song = tmp_path / "a.wav", tmp_path / "a.m4a"
    sf.write(wav, np.sin(np.arange(44_100) / 10), 44_100)
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(wav), "-c:a", "aac", str(song)], check=True)
    assert check(song) is None
    with readable(song, tmp_path) as info:
        assert abs(info.frames - 44_100) < 2_048
    text = tmp_path / "text.m4a"
    text.write_text("not music")
    data = bytearray(song.read_bytes())
    middle = data.index(b"mdat") + len(data) // 4
    data[middle : middle + 1_500] = bytes(value ^ 0x5A for value in data[middle : middle + 1_500])
    damaged = tmp_path / "damaged.m4a"
    damaged.write_bytes(data)
    with pytest.raises(MssctlError, match="not an audio file"):
        check(text)
    with pytest.raises(MssctlError, match="or damaged"), readable(damaged, tmp_path):
        pass
