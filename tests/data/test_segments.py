"""Pieces of stems are what the file holds, and silence outside it."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from mssctl.data.segments import draw_start, level_db, read_into, read_song
from mssctl.data.songs import Song, StemFile
from mssctl.errors import MssctlError


@pytest.fixture
def ramp(tmp_path):
    """A stereo file whose samples count up: left k/1000, right -k/1000."""
    path = tmp_path / "ramp.wav"
    left = np.arange(1000, dtype=np.float32) / 1000
    soundfile.write(path, np.stack([left, -left], 1), 8_000, subtype="FLOAT")
    return StemFile(path, 1000, 8_000, 2)


@pytest.mark.parametrize("start", [0, 1, 500, 990, 999, 1000, 1001])
def test_a_piece_is_the_file_and_then_silence(ramp, start):
    out = np.full((2, 10), np.nan, np.float32)
    read_into(out, ramp, start)
    count = np.arange(start, start + 10)
    expected = np.where(count < 1000, count / 1000, 0).astype(np.float32)
    np.testing.assert_array_equal(out, np.stack([expected, -expected]))


def test_no_stem_is_silence():
    out = np.full((2, 10), np.nan, np.float32)
    read_into(out, None, 3)
    assert not out.any()


def test_channels_are_averaged_or_copied(ramp, tmp_path):
    out = np.ones((1, 10), np.float32)
    read_into(out, ramp, 100)
    assert not out.any()  # left and right cancel
    path = tmp_path / "mono.wav"
    soundfile.write(path, np.full(10, 0.5, np.float32), 8_000, subtype="FLOAT")
    out = np.zeros((2, 10), np.float32)
    read_into(out, StemFile(path, 10, 8_000, 1), 0)
    assert (out == 0.5).all()


def test_a_file_that_became_shorter_is_an_error(ramp):
    longer = StemFile(ramp.path, 2000, 8_000, 2)
    with pytest.raises(MssctlError, match=r"ramp\.wav: 0 frames at 1500, expected 10"):
        read_into(np.zeros((2, 10), np.float32), longer, 1500)


def test_a_whole_song_has_its_stems_in_order(ramp, tmp_path):
    song = Song("s", tmp_path, {"bass": ramp})
    audio = read_song(song, ("vocals", "bass"), 2)
    assert audio.shape == (2, 2, 1000)
    assert not audio[0].any()
    assert audio[1, 0, 7] == np.float32(0.007)


def test_starts_reach_every_place_where_the_piece_fits():
    rng = np.random.default_rng(0)
    assert {draw_start(rng, 12, 10) for _ in range(100)} == {0, 1, 2}
    assert {draw_start(rng, 5, 10) for _ in range(10)} == {0}


def test_level_is_rms_in_decibels():
    assert level_db(np.full((2, 100), 0.1, np.float32)) == pytest.approx(-20.0, abs=1e-4)
    assert level_db(np.zeros((2, 100), np.float32)) == -np.inf
