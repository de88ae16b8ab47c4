"""Data sets as they lie on disks: one law for training, `data check`, references and estimates.

However names are spelled, all of them find the same songs; what is there and cannot be opened is
named by all of them.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from encoded import encode
from mssctl.api.data import check
from mssctl.config.schema import AudioConfig
from mssctl.data import musdb18
from mssctl.data.folders import walk
from mssctl.data.layouts import list_songs
from mssctl.data.names import split_of
from mssctl.data.segments import read_into, read_song
from mssctl.data.tracks import find_musdb, find_tracks
from mssctl.data.training_set import find_songs
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation import references
from mssctl.evaluation.estimates import FromFolder
from mssctl.evaluation.references import ReferenceAudio
from mssctl.events import Notice

AUDIO = AudioConfig(sample_rate=8_000, stems=("vocals", "drums"))
STEMS = AUDIO.stems
SONGS = {"train/Ä - one", "train/two", "valid/three"}


def write(path: Path, frames: int = 600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = 0.1 * np.random.default_rng(list(os.fsencode(path))).standard_normal((frames, 2))
    soundfile.write(path, audio, 8_000, format=path.suffix[1:].upper())
    return path


def build(root: Path, spell: Callable[[str, str, str], str]) -> None:
    """The three songs, with a path below ``root`` for each split, song and stem."""
    for place in sorted(SONGS):
        split, song = place.split("/")
        for stem in STEMS:
            write(root / spell(split, song, stem))


def training(root: Path) -> set[str]:
    sets = find_songs([root], AUDIO)
    assert all(set(song.stems) == set(STEMS) for song in (*sets.train, *sets.valid))
    return {f"train/{song.name}" for song in sets.train} | {
        f"valid/{song.name}" for song in sets.valid
    }


def checked(root: Path) -> set[str]:
    result = check([root], stems=STEMS)
    assert (result.songs, result.findings, result.failures) == (3, [], [])
    listing = list_songs(root, STEMS, splits=("train", "valid", "test"))
    return {f"{split}/{song.name}" for split, songs in listing.splits.items() for song in songs}


def read_as_references(root: Path) -> set[str]:
    found, _ = find_tracks(root, nested=True)
    for track in found:
        references.check(track, model="tiny", audio=AUDIO)
    return {place for place in SONGS if place.partition("/")[2] in {track.name for track in found}}


def read_as_estimates(root: Path) -> set[str]:
    source = FromFolder(root)
    assert set(source.stems) == set(STEMS)
    tracks, _ = find_tracks(root, nested=True)
    silence = np.zeros((2, 600), np.float32)
    for track in tracks:
        audio = ReferenceAudio(dict.fromkeys(STEMS, silence), silence, 8_000)
        found = source.of(track, audio)
        assert (set(found.stems), found.left_out, found.failures) == (set(STEMS), [], [])
    return read_as_references(root)


READERS = {
    "train": training,
    "check": checked,
    "references": read_as_references,
    "estimates": read_as_estimates,
}
SPELLINGS: dict[str, Callable[[str, str, str], str]] = {
    "as written": lambda split, song, stem: f"{split}/{song}/{stem}.wav",
    "suffix": lambda split, song, stem: f"{split}/{song}/{stem}.WAV",
    "formats": lambda split, song, stem: (
        f"{split}/{song}/{stem}.{ {'vocals': 'flac', 'drums': 'aiff'}[stem] }"
    ),
    "stems": lambda split, song, stem: f"{split}/{song}/{stem.title()}.wav",
    "shouted": lambda split, song, stem: f"{split.upper()}/{song}/{stem.upper()}.FLAC",
    "splits": lambda split, song, stem: f"{split.title()}/{song}/{stem}.wav",
    "training": lambda split, song, stem: (
        f"{ {'train': 'training', 'valid': 'validation'}[split] }/{song}/{stem}.wav"
    ),
    "val": lambda split, song, stem: f"{ {'valid': 'Val'}.get(split, split) }/{song}/{stem}.wav",
    "decomposed": lambda split, song, stem: (
        f"{split}/{unicodedata.normalize('NFD', song)}/{stem}.wav"
    ),
    "unpacked": lambda split, song, stem: f"musdb18hq/{split}/{song}/{stem}.wav",
    "twice unpacked": lambda split, song, stem: f"a/b/{split}/{song}/{stem}.wav",
    "deeper splits": lambda split, song, stem: f"{split}/album/{song}/{stem}.wav",
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_reader_finds_the_same_songs_however_they_are_spelled(tmp_path, reader, spelling):
    build(tmp_path, SPELLINGS[spelling])
    for leftover in ("__MACOSX/._train", ".DS_Store", "__MACOSX/train/two/._vocals.wav"):
        (tmp_path / leftover).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / leftover).write_bytes(b"left by a system")
    assert READERS[reader](tmp_path) == SONGS


@pytest.mark.parametrize(
    ("delimiter", "end", "mark"), [(",", "\n", ""), (";", "\r\n", "\ufeff"), ("\t", "\r\n", "")]
)
@pytest.mark.parametrize("head", ["Song|Split|Vocals|DRUMS", "song|split|vocals|drums||"])
@pytest.mark.parametrize("reader", ["train", "check"])
def test_a_table_means_the_same_in_every_dialect(tmp_path, reader, head, delimiter, end, mark):
    build(tmp_path, lambda split, song, stem: f"{song}, {stem};\t.wav")
    lines = [head.replace("|", delimiter)]
    for place, split in zip(sorted(SONGS), ("", "Training", "Val"), strict=True):
        song = place.partition("/")[2]
        cells = [song, split, *(f'"{song}, {stem};\t.wav"' for stem in STEMS)]
        lines.append(delimiter.join(cells))
    lines += [delimiter * 3, ""]
    table = tmp_path / "songs.csv"
    table.write_bytes((mark + end.join(lines)).encode())
    assert READERS[reader](table) == SONGS


@pytest.mark.parametrize(
    ("lines", "message", "hint"),
    [
        (["song;vocals;drumms"], "line 1, column 3: unknown column 'drumms'", "'drums'"),
        (["song,vocals,"+ 500*"x"], "line 1, column 3: unknown column 'x", "known: vocals"),
        (["vocals,Vocals"], "line 1, column 2: a second column 'vocals'", "remove"),
        (["Title,Length", "a,3"], "no column for a stem; columns found: Title, Length", "song"),
        (["song,vocals", "a,x.wav,y.wav"], "line 2: 3 cells, but 2 columns", "quotes"),
        (["stem,path", "Drum,x.wav"], "line 2, column 'stem': 'Drum' is not a stem", "'drums'"),
        (["stem,path,vocals", "drums,x.wav,"], "columns of songs and of samples in one", "stem"),
        (["song,vocals", "a," + 500 * "x"], "line 2: no such file: 'x", "relative"),
    ],
)  # fmt: skip
def test_what_a_table_says_and_nobody_reads_is_an_error_with_its_place(
    tmp_path, lines, message, hint
):
    (tmp_path / "s.csv").write_text("\n".join(lines))
    with pytest.raises(MssctlError, match=message) as caught:
        list_songs(tmp_path / "s.csv", STEMS, splits=("train",))
    assert hint in str(caught.value.hint)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert len(str(caught.value)) < 1_000


def test_a_stem_that_is_not_there_is_silence_as_ever(tmp_path):
    build(tmp_path, SPELLINGS["as written"])
    (tmp_path / "train/two/drums.wav").unlink()
    events: list[Notice] = []
    songs = find_songs([tmp_path], AUDIO, report=events.append)
    assert set(songs.train[0].stems) == {"vocals"}
    assert [event.message for event in events] == [
        "1 of 2 training songs have no drums (first: two): silence"
    ]


# --- what is passed over ----------------------------------------------------------------------


def test_two_files_for_one_stem_are_refused_by_all(tmp_path):
    build(tmp_path, SPELLINGS["as written"])
    write(tmp_path / "train/two/Vocals.flac")
    for reader in READERS.values():
        with pytest.raises(MssctlError, match=r"Vocals\.flac and vocals\.wav: two files for one"):
            reader(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path):
    build(tmp_path, SPELLINGS["as written"])
    write(tmp_path / "val" / "x" / "vocals.wav")
    for reader in (training, checked):
        with pytest.raises(MssctlError, match="both 'val' and 'valid': which is the valid split"):
            reader(tmp_path)


def test_a_song_may_be_called_as_a_split_is(tmp_path):
    for song in ("Training", "Val", "x"):
        for stem in STEMS:
            write(tmp_path / song / f"{stem}.wav")
    listing = list_songs(tmp_path, STEMS, splits=("train", "valid"))
    assert [song.name for song in listing.splits["train"]] == ["Training", "Val", "x"]


@pytest.mark.parametrize("name", ["test", "Test", "TESTING"])
def test_no_spelling_of_a_test_split_is_trained_on(tmp_path, name):
    build(tmp_path, SPELLINGS["as written"])
    (tmp_path / "train").rename(tmp_path / name)
    with pytest.raises(MssctlError, match="a test split is not for training"):
        find_songs([tmp_path / name], AUDIO, valid=tmp_path / "valid")
    with pytest.raises(MssctlError, match="no songs to train on"):
        find_songs([tmp_path], AUDIO)
    assert check([tmp_path], stems=STEMS).roots[0].songs == {"valid": 1, "test": 2}


def passed_over(root: Path) -> list[str]:
    events: list[Notice] = []
    find_songs([root], AUDIO, report=events.append)
    return [event.message.removeprefix(f"{root}") for event in events]


@pytest.mark.parametrize("said", [passed_over, lambda root: check([root], stems=STEMS).skipped])
def test_what_is_passed_over_is_named_by_training_and_by_check(tmp_path, said):
    build(tmp_path, SPELLINGS["as written"])
    for number in range(9):
        write(tmp_path / "train" / f"s {number}" / "vocal.wav")
    write(tmp_path / "train" / "loose.flac")
    (tmp_path / "train/two/drums.wav").rename(tmp_path / "train/two/drums.mid")
    write(tmp_path / "more" / "x" / "vocals.wav")
    sentences = [sentence.removeprefix(str(tmp_path)) for sentence in said(tmp_path)]
    assert sentences[:3] == [
        ": 1 folder beside the splits skipped: more",
        "/train: 9 folders without a stem skipped: s 0, s 1, s 2, s 3, s 4 and 4 more",
        "/train: 2 files that no song can use skipped: loose.flac, two/drums.mid",
    ]


def test_a_level_too_many_is_said(tmp_path):
    build(tmp_path, SPELLINGS["unpacked"])
    place = tmp_path / "musdb18hq"
    sentence = f"{tmp_path}: no songs here; those in {place} are taken"
    assert check([tmp_path], stems=STEMS).skipped == [sentence]
    assert f": no songs here; those in {place} are taken" in passed_over(tmp_path)
    (place / "train").rename(place / "Test")
    tracks, notes = find_musdb(tmp_path, "test")
    assert [track.name for track in tracks] == ["two", "Ä - one"]
    assert notes == [f"{tmp_path}: no 'test' here; the one in {place} is taken"]
    _, notes = find_tracks(tmp_path, nested=True)
    assert notes == [f"{tmp_path}: no tracks here; those in {place} are taken"]


def test_where_several_folders_hold_songs_none_is_chosen(tmp_path):
    for album in ("x", "y"):
        write(tmp_path / album / "song" / "vocals.wav")
    for read in (training, read_as_references):
        with pytest.raises(MssctlError, match="no songs here, but in the folders x, y"):
            read(tmp_path)


@pytest.mark.parametrize(("spelling", "place"), [("as written", ""), ("unpacked", "musdb18hq")])
def test_a_root_of_splits_is_no_reference_but_its_splits_are_named(tmp_path, spelling, place):
    build(tmp_path, SPELLINGS[spelling])
    with pytest.raises(MssctlError, match="no reference tracks") as caught:
        find_tracks(tmp_path)
    splits = [str(tmp_path / place / split) for split in ("train", "valid")]
    assert caught.value.hint == f"name one of its splits: {', '.join(splits)}"


def test_a_song_folder_as_root_is_called_that(tmp_path):
    write(tmp_path / "song" / "vocals.wav")
    with pytest.raises(MssctlError, match="no songs here") as caught:
        list_songs(tmp_path / "song", STEMS, splits=("train",))
    assert "this folder is one song" in str(caught.value.hint)


def test_links_to_folders_are_followed_once(tmp_path):
    write(tmp_path / "elsewhere" / "kick.wav")
    (tmp_path / "drums").mkdir()
    (tmp_path / "drums" / "pack").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path)
    (tmp_path / "elsewhere" / "self").symlink_to(tmp_path / "elsewhere")
    assert [path.name for path in walk(tmp_path / "drums")] == ["kick.wav"]


@pytest.mark.parametrize(
    ("name", "split"),
    [("Train", "train"), ("VAL ", "valid"), ("Validation", "valid"), ("tests", None), ("", None)],
)
def test_which_names_are_splits(name, split):
    assert split_of(name) == split


def test_one_frame_of_difference_reads_as_one(tmp_path):
    build(tmp_path, SPELLINGS["as written"])
    write(tmp_path / "train/two/drums.wav", 601)
    (finding,) = check([tmp_path], stems=STEMS).findings
    assert finding.message == "vocals has 600 frames (0.075 s), drums 601 (0.075 s)"


def test_a_container_that_cannot_be_read_is_reported_once(tmp_path, monkeypatch):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "A - B.stem.mp4").write_bytes(b"garbage")

    def refuse(path: Path) -> dict[str, Path]:
        raise MssctlError(f"{path}: damaged")

    monkeypatch.setattr(musdb18, "decoded", refuse)
    result = check([tmp_path], stems=STEMS)
    assert result.findings == []
    assert [failure.error for failure in result.failures] == ["damaged"]


@pytest.mark.parametrize("suffix", [".m4a", ".opus", ".webm", ".mp3", ".ogg", ".mp4"])
def test_songs_of_any_format_are_found_and_read_by_seeking(tmp_path, suffix):
    rng = np.random.default_rng(0)
    for place in ("train/a", "valid/b"):
        for stem in STEMS:
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            audio = 0.1 * rng.standard_normal((2, 12_000)).astype(np.float32)
            encode(tmp_path / place / f"{stem}{suffix}", audio, 48_000)
    songs = find_songs([tmp_path], AudioConfig(sample_rate=48_000, stems=STEMS))
    (song,) = songs.train
    assert song.frames >= 12_000
    whole = read_song(song, STEMS, 2)
    part = np.empty((2, 700), np.float32)
    read_into(part, song.stems["drums"], 5_000)
    np.testing.assert_allclose(part, whole[1, :, 5_000:5_700], atol=1e-5)
    assert check([tmp_path], stems=STEMS).failures == []
