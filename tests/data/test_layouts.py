"""Layouts: recognised by what lies in a folder, or named; each finds the same songs."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mssctl.config.schema import AudioConfig
from mssctl.data import training_set
from mssctl.data.layouts import list_songs
from mssctl.data.musdb18 import validation_tracks
from mssctl.data.training_set import find_songs
from mssctl.errors import MssctlError
from mssctl.events import Event, Notice

AUDIO = AudioConfig(sample_rate=8_000)
STEMS = AUDIO.stems
HELD = "Leaf - Summerghost"  # one of musdb's validation tracks


def names(songs) -> list[str]:
    return [song.name for song in songs]


def test_musdb_names_fourteen_validation_tracks():
    assert len(validation_tracks()) == 14
    assert HELD in validation_tracks()


@pytest.mark.parametrize("layout", ["auto", "musdb18hq"])
@pytest.mark.parametrize("root", ["", "train"])
def test_musdb18hq_holds_musdbs_own_validation_tracks_out(tmp_path, make_song, layout, root):
    for place in (f"train/{HELD}", "train/A - B", "train/C - D", "test/E - F"):
        make_song(tmp_path / place, stems=(*STEMS, "mixture"))
    events: list[Event] = []
    songs = find_songs([tmp_path / root], AUDIO, layout=layout, report=events.append)
    assert names(songs.train) == ["A - B", "C - D"]
    assert names(songs.valid) == [HELD]
    (notice,) = events
    assert isinstance(notice, Notice)
    assert "2 tracks to train on, 1 of musdb's 14 held out" in notice.message


def test_with_a_valid_folder_of_ones_own_all_tracks_are_trained_on_and_that_is_said(
    tmp_path, make_song
):
    for place in (f"m/train/{HELD}", "m/train/A - B", "held/c"):
        make_song(tmp_path / place)
    events: list[Event] = []
    songs = find_songs([tmp_path / "m"], AUDIO, valid=tmp_path / "held", report=events.append)
    assert names(songs.train) == ["A - B", HELD]
    assert names(songs.valid) == ["c"]
    assert any("1 validation tracks of musdb are trained on" in str(event) for event in events)


def test_nothing_is_left_to_train_on_when_all_tracks_are_for_validation(tmp_path, make_song):
    make_song(tmp_path / "train" / HELD)
    with pytest.raises(MssctlError, match="only validation tracks"):
        find_songs([tmp_path], AUDIO)


def test_sample_folders_hold_one_stem_each(tmp_path, make_song):
    for stem in STEMS:
        make_song(tmp_path / "one" / stem / "pack", stems=(stem,))
    make_song(tmp_path / "one/drums/.hidden", stems=("drums",))
    make_song(tmp_path / "one/cowbell/x", stems=("drums",))
    make_song(tmp_path / "held/v")
    events: list[Event] = []
    songs = find_songs([tmp_path / "one"], AUDIO, valid=tmp_path / "held", report=events.append)
    assert sorted(names(songs.train)) == sorted(f"{stem}/pack/{stem}.wav" for stem in STEMS)
    assert all(song.loose and len(song.stems) == 1 for song in songs.train)
    assert [event.message for event in events if isinstance(event, Notice)] == [
        f"{tmp_path / 'one'}: 1 folder without a stem skipped: cowbell"
    ]


def test_samples_cannot_be_validated_on(tmp_path, make_song):
    make_song(tmp_path / "train/a")
    for stem in STEMS:
        make_song(tmp_path / "valid" / stem / "pack", stems=(stem,))
    with pytest.raises(MssctlError, match="cannot be validated on"):
        find_songs([tmp_path / "train"], AUDIO, valid=tmp_path / "valid")


def test_a_folder_of_songs_one_of_which_is_called_drums_is_no_folder_of_samples(
    tmp_path, make_song
):
    make_song(tmp_path / "drums")
    make_song(tmp_path / "b")
    assert list_songs(tmp_path, STEMS, splits=["train"]).layout == "stems"


def test_a_folder_that_may_not_be_read_is_named(tmp_path, make_song, monkeypatch):
    make_song(tmp_path / "train/a")

    iterdir = Path.iterdir

    def refuse(path):
        if path.name == "train":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    for layout in ("auto", "stems"):
        with pytest.raises(MssctlError, match="train: cannot be read: Permission denied"):
            find_songs([tmp_path], AUDIO, layout=layout)


def write(path, *lines: str):
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table_names_songs_their_split_and_their_files(tmp_path, make_song, mark):
    for place in ("ä song", "b", "c"):
        make_song(tmp_path / place)
    table = write(
        tmp_path / "songs.csv",
        mark + "song, split, vocals, drums, bass, other, mixture",
        "one,train,ä song/vocals.wav,ä song/drums.wav,ä song/bass.wav,,",
        "two,,b/vocals.wav,b/drums.wav,b/bass.wav,b/other.wav,",
        "three,valid,c/vocals.wav,c/drums.wav,c/bass.wav,c/other.wav,",
        "four,test,b/vocals.wav,b/drums.wav,b/bass.wav,b/other.wav,",
    )
    events: list[Event] = []
    songs = find_songs([table], AUDIO, report=events.append)
    assert names(songs.train) == ["one", "two"]
    assert names(songs.valid) == ["three"]
    assert set(songs.train[0].stems) == {"vocals", "drums", "bass"}
    assert "1 of 2 training songs have no other (first: one): silence" in str(events)


def test_a_table_of_samples_has_a_row_for_each(tmp_path, make_song):
    make_song(tmp_path / "a")
    make_song(tmp_path / "held/v")
    table = write(tmp_path / "s.csv", "instrum,path", *(f"{stem},a/{stem}.wav" for stem in STEMS))
    songs = find_songs([table], AUDIO, valid=tmp_path / "held")
    assert [set(song.stems) for song in songs.train] == [{stem} for stem in STEMS]
    assert all(song.loose for song in songs.train)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["title,length", "a,3"], "no column for a stem"),
        ([""], "no column for a stem"),
        (["song,vocals"], "no songs here"),
        (["song,vocals", "a,nowhere.wav"], "line 2: no such file: 'nowhere.wav'"),
        (["song,split,vocals", "a,dev,x.wav"], "line 2: no split 'dev'"),
        (["song,vocals", "a,"], "line 2: names no stem"),
        (["stem,path", "kazoo,x.wav"], "line 2, column 'stem': 'kazoo' is not a stem of the model"),
        (["stem,path"], "no songs here"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_with_the_line(tmp_path, lines, message):
    with pytest.raises(MssctlError, match=message):
        find_songs([write(tmp_path / "s.csv", *lines)], AUDIO)


def test_a_table_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "s.csv").write_bytes(b"\xff\xfe\x00song")
    with pytest.raises(MssctlError, match="not a CSV file in UTF-8"):
        find_songs([tmp_path / "s.csv"], AUDIO)


def test_songs_of_a_test_split_are_out_of_reach_of_tables_and_links_too(tmp_path, make_song):
    make_song(tmp_path / "m/test/a")
    make_song(tmp_path / "held/v")
    row = ",".join(f"m/test/a/{stem}.wav" for stem in STEMS)
    table = write(tmp_path / "s.csv", "vocals,drums,bass,other", row)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/a").symlink_to(tmp_path / "m/test/a")
    mixed = ["train/b/vocals.wav", *(f"test/a/{stem}.wav" for stem in STEMS[1:])]
    make_song(tmp_path / "m/train/b")
    one = write(tmp_path / "m/one.csv", "vocals,drums,bass,other", ",".join(mixed))
    samples = write(tmp_path / "m/two.csv", "stem,path", "drums,test/a/drums.wav")
    (tmp_path / "m/test/x.stem.mp4").touch()
    (tmp_path / "coded").mkdir()
    (tmp_path / "coded/x.stem.mp4").symlink_to(tmp_path / "m/test/x.stem.mp4")
    for root in (table, tmp_path / "linked", one, samples, tmp_path / "coded"):
        with pytest.raises(MssctlError, match="a test split is not for training"):
            find_songs([root], AUDIO, valid=tmp_path / "held")


def test_headers_are_read_once_and_again_when_a_file_changes(tmp_path, make_song, monkeypatch):
    for place in ("train/a", "valid/v"):
        make_song(tmp_path / place)
    first = find_songs([tmp_path], AUDIO)
    asked = []
    probe = training_set.probe
    monkeypatch.setattr(training_set, "probe", lambda path: asked.append(path) or probe(path))
    assert find_songs([tmp_path], AUDIO) == first
    assert not asked
    (tmp_path / "train/a/drums.wav").write_bytes(b"garbage")
    with pytest.raises(MssctlError, match=r"drums\.wav"):
        find_songs([tmp_path], AUDIO)


def test_a_cache_that_cannot_be_used_is_said_and_changes_nothing(tmp_path, make_song, monkeypatch):
    for place in ("train/a", "valid/v"):
        make_song(tmp_path / place)
    wanted = find_songs([tmp_path], AUDIO)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/facts.sqlite").write_text("not a database, " * 100)
    for broken in ("file", "damaged"):
        monkeypatch.setenv("MSSCTL_CACHE", str(tmp_path / broken))
        events: list[Event] = []
        assert find_songs([tmp_path], AUDIO, report=events.append) == wanted
        assert "cache not used" in str(events)
