"""`data check` names every fault that was put into a set, and none in a sound one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mssctl.api.data import check
from mssctl.data import measure
from mssctl.errors import ExitCode, MssctlError
from mssctl.results.data import DataCheckResult

STEMS = ("vocals", "drums", "bass", "other")
RATE, FRAMES = 8_000, 16_000


@pytest.fixture
def music(tmp_path, make_song) -> Path:
    """A sound set: two training songs, one for validation, one for testing."""
    for place in ("train/a", "train/b", "valid/c", "test/d"):
        folder = make_song(tmp_path / "music" / place)
        mix(folder)
    return tmp_path / "music"


def mix(folder: Path) -> None:
    audio = sum(soundfile.read(folder / f"{stem}.wav")[0] for stem in STEMS)
    soundfile.write(folder / "mixture.wav", audio, RATE)


def kinds(result: DataCheckResult) -> set[str]:
    return {finding.kind for finding in result.findings}


def test_a_sound_set_has_no_findings_and_its_hours_are_counted(music):
    result = check([music])
    assert (result.findings, result.failures, result.skipped) == ([], [], [])
    assert result.songs == 4
    (root,) = result.roots
    assert (root.layout, root.songs) == ("stems", {"train": 2, "valid": 1, "test": 1})
    assert root.hours["train"]["bass"] == pytest.approx(2 * FRAMES / RATE / 3600)


def edit(change: Callable[[np.ndarray], np.ndarray], stem: str = "drums") -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        audio, rate = soundfile.read(folder / f"{stem}.wav")
        soundfile.write(folder / f"{stem}.wav", change(audio), rate, subtype="FLOAT")
        mix_if_equal(folder)

    return apply


def mix_if_equal(folder: Path) -> None:
    """Make the mixture anew, so that a fault in a stem is the only one."""
    parts = [soundfile.read(folder / f"{stem}.wav")[0] for stem in STEMS]
    longest = max(map(len, parts))
    audio = sum(np.pad(part, ((0, longest - len(part)), (0, 0))) for part in parts)
    soundfile.write(folder / "mixture.wav", audio, RATE, subtype="FLOAT")


FAULTS = {
    "silent": (edit(lambda audio: 0.0 * audio), "drums is silent"),
    "clipped": (
        edit(lambda audio: np.where(np.abs(audio) > 0.05, np.sign(audio), audio), "vocals"),
        "vocals is clipped at",
    ),
    "length": (
        edit(lambda audio: audio[:8_000]),
        "drums has 8000 frames (1.000 s), vocals 16000 (2.000 s)",
    ),
    "mixture": (
        lambda folder: soundfile.write(
            folder / "mixture.wav", 0.9 * soundfile.read(folder / "mixture.wav")[0], RATE
        ),
        "differs from the sum of its stems by -19.1 dB",
    ),
    "missing": (lambda folder: (folder / "bass.wav").unlink(), "no bass: silence in training"),
    "duplicate": (
        lambda folder: (
            shutil.copy(folder / "bass.wav", folder / "other.wav"),
            mix_if_equal(folder),
        ),
        "other.wav: as",
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_found_with_its_song_and_is_no_failure(music, kind):
    spoil, sentence = FAULTS[kind]
    spoil(music / "train/b")
    result = check([music])
    assert result.failures == []
    found = [finding for finding in result.findings if finding.kind == kind]
    assert {(finding.split, finding.song) for finding in found} == {("train", "b")}
    assert sentence in found[0].message
    others = {"clipped": {"clipped"}, "missing": {"missing", "mixture"}}
    assert kinds(result) <= others.get(kind, {kind})


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9_000])


def nan(path: Path) -> None:
    audio, rate = soundfile.read(path)
    audio[9_000] = np.nan
    soundfile.write(path, audio, rate, subtype="FLOAT")


def other_rate(path: Path) -> None:
    audio, _ = soundfile.read(path)
    soundfile.write(path, audio, 2 * RATE)


def six_channels(path: Path) -> None:
    audio, rate = soundfile.read(path)
    soundfile.write(path, audio.repeat(3, axis=1), rate)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (garbage, "not an audio file"),
        (cut, "cut off"),
        (lambda path: path.write_bytes(b""), "an empty file"),
        (nan, "NaN or infinite sample at 1.125 s"),
        (other_rate, "16000 Hz, the others have 8000 Hz"),
        (six_channels, "6 channels"),
    ],
)
def test_what_training_would_refuse_is_a_failure_that_names_the_file(music, spoil, sentence):
    path = music / "valid/c/bass.wav"
    spoil(path)
    result = check([music])
    assert [failure.path for failure in result.failures] == [str(path)]
    assert sentence in result.failures[0].error
    assert result.failures[0].exit_code == ExitCode.BAD_INPUT


@pytest.mark.parametrize("subtype", ["PCM_16", "FLAC"])
def test_the_same_audio_in_two_splits_is_a_failure_under_any_name_and_format(music, subtype):
    audio, rate = soundfile.read(music / "test/d/vocals.wav")
    target = music / "train/a/vocals.wav"
    target.unlink()
    if subtype == "FLAC":
        target = target.with_suffix(".flac")
    soundfile.write(target, audio, rate)
    (failure,) = check([music]).failures
    assert failure.path == str(music / "test/d/vocals.wav")
    assert failure.error == f"in 'test', and the same audio in 'train': {target}"


def test_a_rate_that_is_asked_for_is_compared_with(music):
    assert check([music], sample_rate=RATE).failures == []
    (first, *_) = failures = check([music], sample_rate=44_100).failures
    assert len(failures) == 4 * 5
    assert first.error == "8000 Hz instead of 44100 Hz"


def test_a_second_check_reads_only_what_changed(music, monkeypatch):
    first = check([music])
    read: list[Path] = []
    blocks = measure.blocks
    monkeypatch.setattr(
        measure, "blocks", lambda path, *rest: read.append(path) or blocks(path, *rest)
    )
    assert check([music]) == first
    assert read == []
    edit(lambda audio: 0.5 * audio)(music / "train/b")
    check([music])
    assert {path.parent for path in read} == {music / "train/b"}


def test_a_file_that_is_not_what_it_states_is_named(music):
    path = music / "train/a/bass.wav"
    path.write_bytes(path.read_bytes() + b"\x80 no chunk")
    found = [finding for finding in check([music]).findings if finding.kind == "odd"]
    assert [(finding.path, "after the end" in finding.message) for finding in found] == [
        (str(path), True)
    ]
    assert check([music]).findings == check([music]).findings  # from the cache, too


def test_several_roots_are_one_set_as_far_as_splits_go(tmp_path, music):
    shutil.copytree(music / "valid/c", tmp_path / "more/train/z")
    result = check([music, tmp_path / "more"])
    assert [root.songs for root in result.roots] == [
        {"train": 2, "valid": 1, "test": 1},
        {"train": 1},
    ]
    assert len(result.failures) == 4  # all four stems


def test_a_folder_that_is_a_split_counts_as_that(music):
    assert check([music / "test"]).roots[0].songs == {"test": 1}


def test_sample_folders_are_checked_too(tmp_path, music):
    for stem in ("vocals", "drums"):
        (tmp_path / "samples" / stem).mkdir(parents=True)
        shutil.copy(music / f"train/a/{stem}.wav", tmp_path / "samples" / stem / "ö.wav")
    garbage(tmp_path / "samples/drums/ö.wav")
    result = check([tmp_path / "samples"])
    assert (result.roots[0].layout, result.songs) == ("samples", 1)
    assert result.findings == []
    assert [failure.path for failure in result.failures] == [str(tmp_path / "samples/drums/ö.wav")]


def test_stem_mp4_files_are_decoded_and_a_broken_one_is_named(tmp_path, make_song, make_stem_mp4):
    source = make_song(tmp_path / "song", sample_rate=44_100, frames=44_100)
    make_stem_mp4(tmp_path / "musdb18/train/A - B.stem.mp4", source)
    (tmp_path / "musdb18/train/C - D.stem.mp4").write_bytes(b"garbage")
    result = check([tmp_path / "musdb18"])
    assert (result.roots[0].layout, result.songs) == ("musdb18", 1)
    assert result.roots[0].hours["train"]["vocals"] == pytest.approx(1 / 3600, rel=0.1)
    assert [Path(failure.path).name for failure in result.failures] == ["C - D.stem.mp4"]


def test_a_folder_without_songs_and_stems_without_sense_are_errors(tmp_path):
    with pytest.raises(MssctlError, match="no songs here"):
        check([tmp_path])
    with pytest.raises(MssctlError, match="no such folder"):
        check([tmp_path / "nowhere"])
    with pytest.raises(MssctlError, match="stems must differ") as caught:
        check([tmp_path], stems=["a", "a"])
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("samples", [1, 2, 3, 100])
def test_three_samples_in_a_row_at_full_scale_are_a_clipped_place(music, samples):
    def touch(audio: np.ndarray) -> np.ndarray:
        audio[500 : 500 + samples, 0] = 1.0
        return audio

    edit(touch)(music / "train/a")
    found = [finding.message for finding in check([music]).findings if "drums" in finding.message]
    assert found == (["drums is clipped at 1 place"] if samples >= 3 else [])
