"""Audio files: reading with errors that say what is wrong, writing whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mssctl.audio import files
from mssctl.audio.encoding import WAV_FLOAT, Encoding
from mssctl.audio.errors import UnknownFormatError
from mssctl.audio.extent import extent
from mssctl.audio.writer import AtomicWriter
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import FileSet, storage_error

RATE = 8_000


def noise(frames: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    sf.write(path, noise(1_000), RATE, subtype="FLOAT")
    return path


def test_probe_tells_what_is_in_a_file(song):
    info = files.probe(song)
    assert (info.frames, info.sample_rate, info.channels, info.subtype) == (1_000, RATE, 2, "FLOAT")
    assert info.seconds == 0.125


def test_reading_by_position(song):
    expected = noise(1_000).T
    np.testing.assert_array_equal(files.read(song), expected)
    np.testing.assert_array_equal(files.read(song, 100, 50), expected[:, 100:150])
    np.testing.assert_array_equal(files.read(song, 990, 50), expected[:, 990:])
    assert files.read(song, 2_000, 50).shape == (2, 0)


@pytest.mark.parametrize("size", [1, 333, 1_000, 5_000])
def test_blocks_add_up_to_the_file(song, size):
    parts = list(files.blocks(song, size))
    assert max(part.shape[1] for part in parts) <= size
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), noise(1_000).T)


@pytest.mark.parametrize(
    "name", ["with space.wav", "Lied – Ünïcödé 歌.wav", "-dash.wav", "[a]*.wav"]
)
def test_any_name_will_do(tmp_path, name):
    path = tmp_path / name
    with AtomicWriter(path, RATE, 2) as writer:
        writer.write(noise(10).T)
    assert files.probe(path).frames == 10


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MssctlError, match=r"gone\.wav: no such file") as caught:
        files.probe(tmp_path / "gone.wav")
    assert caught.value.exit_code == ExitCode.BAD_INPUT


def test_an_unreadable_file_is_named(song, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MssctlError, match=r"song\.wav: cannot be read: Permission denied"):
        files.probe(song)


def test_a_text_file_is_no_audio(tmp_path):
    path = tmp_path / "notes.wav"
    path.write_text("not music")
    with pytest.raises(UnknownFormatError, match=r"notes\.wav: not an audio file"):
        files.probe(path)


def test_an_empty_file_is_told_from_one_without_frames(tmp_path):
    empty, headed = tmp_path / "empty.wav", tmp_path / "headed.wav"
    empty.touch()
    sf.write(headed, np.zeros((0, 2)), RATE)
    with pytest.raises(MssctlError, match="an empty file"):
        files.probe(empty)
    with pytest.raises(MssctlError, match="no audio frames") as caught:
        files.probe(headed)
    assert caught.value.hint == "check that the file is complete"


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_16"), ("aiff", "PCM_24")])
def test_a_file_shorter_than_its_header_says_is_refused(tmp_path, suffix, subtype):
    path = tmp_path / f"cut.{suffix}"
    sf.write(path, noise(1_000), RATE, subtype=subtype)
    path.write_bytes(path.read_bytes()[:2_000])
    with pytest.raises(MssctlError, match="cut off"):
        files.probe(path)


def test_a_cut_flac_is_refused_while_reading(tmp_path):
    path = tmp_path / "cut.flac"
    sf.write(path, noise(50_000), RATE)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(MssctlError, match="cut off"):
        list(files.blocks(path, 1_000))


def test_a_wav_from_a_pipe_has_no_length_and_is_whole(tmp_path):
    path = tmp_path / "pipe.wav"
    sf.write(path, noise(100), RATE, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", 0xFFFF_FFFF)
    path.write_bytes(data)
    assert extent(path).missing == 0
    assert files.probe(path).frames == 100


def test_rf64_lengths_are_read(tmp_path):
    path = tmp_path / "long.wav"
    sf.write(path, noise(100), RATE, subtype="PCM_16", format="RF64")
    assert extent(path).missing == 0
    path.write_bytes(path.read_bytes()[:-40])
    assert extent(path).missing == 40


@pytest.mark.parametrize(
    ("format_", "subtype"),
    [("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("W64", "PCM_16"), ("AU", "PCM_16"), ("OGG", "VORBIS")],
)
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused_in_every_format_that_counts(
    tmp_path, format_, subtype, kept
):
    path = tmp_path / "song"
    sf.write(path, noise(50_000), RATE, format=format_, subtype=subtype)
    assert extent(path).missing == 0
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(MssctlError, match="cut off"):
        files.probe(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_refused_with_its_time(tmp_path, bad):
    samples = noise(1_000)
    samples[600, 1] = bad
    path = tmp_path / "bad.wav"
    sf.write(path, samples, RATE, subtype="FLOAT")
    with pytest.raises(MssctlError, match=r"bad\.wav: NaN or infinite sample at 0\.075 s"):
        list(files.blocks(path, 256))
    with pytest.raises(MssctlError, match=r"at 0\.075 s"):
        files.read(path, 500)


def test_a_written_file_appears_at_the_end(tmp_path):
    path = tmp_path / "out.wav"
    with AtomicWriter(path, RATE, 2, WAV_FLOAT) as writer:
        for block in np.split(noise(1_000).T, 4, axis=1):
            writer.write(block)
        assert not path.exists()
    np.testing.assert_array_equal(files.read(path), noise(1_000).T)
    assert names(tmp_path) == ["out.wav"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_error_nothing_is_there_and_the_old_file_stays(tmp_path, error):
    path = tmp_path / "out.wav"
    path.write_text("old")
    with (  # noqa: PT012
        pytest.raises(error),
        FileSet(tmp_path, overwrite=True) as set_,
        AtomicWriter(path, RATE, 2, files=set_) as writer,
    ):
        writer.write(noise(10).T)
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out.wav"]


@pytest.mark.parametrize(("format_", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_24")])
def test_integers_are_written_as_they_are(tmp_path, format_, subtype):
    path = tmp_path / "out"
    values = np.array([[-32_768, -1, 0, 1, 32_767]], dtype=np.int16)
    block = values if subtype == "PCM_16" else values.astype(np.int32) << 16
    with AtomicWriter(path, RATE, 1, Encoding(format_, subtype)) as writer:
        writer.write(block)
    np.testing.assert_array_equal(sf.read(path, dtype="int16")[0], values[0])


@pytest.fixture
def small_files_only() -> Iterator[None]:
    """The system lets no file grow beyond 20 kB: a write fails for real."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("format_", ["WAV", "FLAC", "RF64"])
@pytest.mark.parametrize("frames", [5_001, 100_000])
def test_a_write_that_fails_leaves_nothing(tmp_path, small_files_only, format_, frames):
    path = tmp_path / "out"
    with (
        pytest.raises(MssctlError, match="out: cannot be written") as caught,
        AtomicWriter(path, RATE, 2, Encoding(format_, "PCM_24", 24)) as writer,
    ):
        writer.write(noise(frames).T)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert names(tmp_path) == []


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with (
        pytest.raises(MssctlError, match="No such file or directory"),
        AtomicWriter(tmp_path / "no" / "out.wav", RATE, 2),
    ):
        pass


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.ENOTDIR, "a file is in the place of a folder"),
    ],
)
def test_failed_writes_are_explained(number, reason):
    error = storage_error(Path("x"), OSError(number, os.strerror(number)))
    assert reason in error.message
    assert error.exit_code == ExitCode.ENVIRONMENT
    assert error.hint


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(MssctlError, match="not a regular file"):
        files.probe(tmp_path / "pipe.wav")
