"""Reference tracks on disk: what is found, and what is refused before a model runs."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf

from mssctl.config.schema import AudioConfig
from mssctl.data.tracks import find_tracks
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.references import check, read

RATE = 8_000
AUDIO = AudioConfig(sample_rate=RATE, channels=2, stems=("vocals", "drums"))


def write(path, *, frames=200, rate=RATE, channels=2, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(seed).standard_normal((frames, channels))
    sf.write(path, samples, rate, subtype="PCM_16")


@pytest.fixture
def track(tmp_path):
    """One whole track in ``tmp_path/songs/a``; returns its folder."""
    folder = tmp_path / "songs" / "a"
    for seed, stem in enumerate(["mixture", "vocals", "drums"]):
        write(folder / f"{stem}.wav", seed=seed)
    return folder


def checked(folder):
    (found,), _ = find_tracks(folder)
    return check(found, model="tiny", audio=AUDIO)


def test_track_folders_are_found_in_order_of_name(track):
    write(track.parent / "B 2" / "vocals.FLAC")
    write(track.parent / "ä" / "vocals.flac")
    tracks, notes = find_tracks(track.parent)
    assert [item.name for item in tracks] == ["B 2", "a", "ä"]
    assert notes == []


def test_a_track_folder_itself_is_one_track(track):
    (found,), _ = find_tracks(track)
    assert found.name == "a"
    assert list(found.stems) == ["drums", "vocals"]
    assert found.mixture == track / "mixture.wav"


def test_the_current_folder_has_its_real_name(track, monkeypatch):
    monkeypatch.chdir(track)
    (found,), _ = find_tracks(track.relative_to(track))
    assert found.name == "a"


def test_hidden_files_and_other_files_do_not_count(track):
    write(track / "._vocals.wav")
    write(track.parent / ".trash" / "vocals.wav")
    (track / "info.json").write_text("{}")
    (found,), notes = find_tracks(track.parent)
    assert list(found.stems) == ["drums", "vocals"]
    assert notes == []


def test_a_folder_without_audio_is_named(track):
    (track.parent / "empty").mkdir()
    tracks, notes = find_tracks(track.parent)
    assert len(tracks) == 1
    assert notes == [f"{track.parent}: 1 folder without audio files skipped: empty"]


def test_no_folder_a_file_or_no_tracks_are_errors(track, tmp_path):
    (tmp_path / "nothing").mkdir()
    for path, sentence in [
        (tmp_path / "missing", "missing: no such folder"),
        (track / "vocals.wav", "vocals.wav: not a folder"),
        (tmp_path / "nothing", "nothing: no reference tracks"),
    ]:
        with pytest.raises(MssctlError, match=sentence) as caught:
            find_tracks(path)
        assert caught.value.exit_code == ExitCode.BAD_INPUT
        assert "expected track folders" in str(caught.value)


def test_two_files_for_one_stem_are_an_error(track):
    write(track / "vocals.flac")
    with pytest.raises(MssctlError, match=r"vocals\.flac and vocals\.wav: two files for one stem"):
        find_tracks(track.parent)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"rate": 16_000}, r"drums\.wav: 16000 Hz, but 'tiny' works at 8000 Hz"),
        ({"channels": 1}, r"drums\.wav: channels: 1, but 'tiny' works on 2"),
        ({"frames": 199}, r"differ in length \(frames\): mixture\.wav 200, .*drums\.wav 199"),
        ({"frames": 0}, r"drums\.wav: no audio frames"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_both_values(track, fault, sentence):
    assert checked(track) == []
    write(track / "drums.wav", **fault)
    with pytest.raises(MssctlError, match=sentence) as caught:
        checked(track)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert caught.value.hint


def test_files_that_no_score_needs_are_not_looked_at(track):
    (track / "guitar.wav").write_text("not audio")
    assert checked(track) == []


def test_without_a_mixture_the_sum_of_all_stems_is_used_and_said(track):
    (track / "mixture.wav").unlink()
    write(track / "guitar.wav", seed=9)  # no stem of the model, but part of the song
    assert checked(track) == ["a: no mixture file: the sum of drums, guitar, vocals is used"]
    (found,), _ = find_tracks(track)
    audio = read(found, AUDIO.stems)
    assert list(audio.stems) == ["vocals", "drums"]
    total = sum(
        sf.read(track / f"{stem}.wav", dtype="float64")[0] for stem in ["vocals", "drums", "guitar"]
    )
    assert audio.mixture.dtype == np.float32
    np.testing.assert_allclose(audio.mixture, total.T, atol=1e-7)


def test_a_mixture_that_is_there_is_taken_as_it_is(track):
    (found,), _ = find_tracks(track)
    audio = read(found, AUDIO.stems)
    np.testing.assert_array_equal(
        audio.mixture.T, sf.read(track / "mixture.wav", dtype="float32")[0]
    )


def test_a_missing_stem_is_allowed_with_a_mixture_only(track):
    (track / "drums.wav").unlink()
    assert checked(track) == []
    (track / "mixture.wav").unlink()
    with pytest.raises(MssctlError, match="a: no mixture file, and no drums to make it from"):
        checked(track)


def test_a_track_with_none_of_the_stems_is_an_error_that_says_what_it_has(track):
    (track / "drums.wav").unlink()
    (track / "vocals.wav").rename(track / "voice.wav")
    with pytest.raises(MssctlError, match=r"none of the stems of 'tiny'.*found: voice"):
        checked(track)
