"""File names of outputs: no two alike, none outside the folder, none lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mssctl.errors import ExitCode, MssctlError
from mssctl.separation.inputs import Song
from mssctl.separation.outputs import (
    Namer,
    already_there,
    check_distinct,
    folder_for_outputs,
)
from mssctl.staging import Staging

SONG = Song(Path("in/My Song.v2.flac"), "in")


def name(template: str, song: Song = SONG, out: str = "out") -> str:
    return Namer(Path(out), template, "starter", "wav").path(song, "vocals").as_posix()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{track}/{stem}.{ext}", "out/My Song.v2/vocals.wav"),
        ("{model}-{dir}-{track}.{trackext}_{stem}", "out/starter-in-My Song.v2.flac_vocals"),
        ("{{{stem}}}.wav", "out/{vocals}.wav"),
    ],
)
def test_fields_are_filled_in(template, expected):
    assert name(template) == expected


@pytest.mark.parametrize(
    "template",
    ["../{stem}", "/tmp/{stem}", "a/../../{stem}", "{dir}/{stem}/../../..", ".", "\0{stem}"],
)
def test_a_template_cannot_leave_the_folder(template):
    with pytest.raises(MssctlError, match="not a file below the output folder") as caught:
        name(template)
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("template", ["{stm}", "{stem.__class__}", "{stem!r}", "{stem:>99}", "{}"])
def test_unknown_fields_are_refused(template):
    with pytest.raises(MssctlError, match="unknown field") as caught:
        name(template)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_broken_template_is_refused():
    with pytest.raises(MssctlError, match=r"`filename` \{stem: "):
        name("{stem")


def test_two_outputs_on_one_path_are_refused():
    namer = Namer(Path("out"), "{track}/{stem}.{ext}", "starter", "wav")
    songs = [Song(Path("a/x.wav"), "a"), Song(Path("b/x.wav"), "b")]
    with pytest.raises(MssctlError, match=r"out/x/bass\.wav: both a/x\.wav") as caught:
        check_distinct(namer, songs, ["bass"])
    assert caught.value.exit_code == ExitCode.USAGE
    assert "{dir}" in (caught.value.hint or "")
    check_distinct(Namer(Path("out"), "{dir}/{track}/{stem}", "m", "wav"), songs, ["bass", "x"])


def test_a_template_without_stem_serves_one_stem_only():
    namer = Namer(Path("out"), "{track}.{ext}", "starter", "wav")
    check_distinct(namer, [SONG], ["bass"])
    with pytest.raises(MssctlError, match="both"):
        check_distinct(namer, [SONG], ["bass", "drums"])


def test_an_input_is_never_an_output(tmp_path):
    namer = Namer(tmp_path, "{track}.{ext}", "starter", "wav")
    with pytest.raises(MssctlError, match="over an input"):
        check_distinct(namer, [Song(tmp_path / "x.wav", "")], ["bass"])


def test_existing_outputs_are_an_error_kept_or_replaced(tmp_path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert not already_there(paths, "error")
    paths[0].touch()
    assert not already_there(paths, "overwrite")
    with pytest.raises(MssctlError, match="exists already") as caught:
        already_there(paths, "error")
    assert caught.value.exit_code == ExitCode.USAGE
    assert already_there(paths, "skip") == paths[:1]
    paths[1].touch()
    assert already_there(paths, "skip") == paths


def test_a_folder_in_the_place_of_an_output_is_an_error_always(tmp_path):
    with pytest.raises(MssctlError, match="a folder is in the place"):
        already_there([tmp_path], "overwrite")


def test_folders_made_in_vain_go_away(tmp_path):
    with folder_for_outputs(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []
    with folder_for_outputs(tmp_path / "a" / "b"):
        (tmp_path / "a" / "x").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x"]


def test_a_folder_whose_name_is_too_long_leaves_nothing(tmp_path):
    with (
        pytest.raises(MssctlError, match="too long"),
        folder_for_outputs(tmp_path / "a" / "x" / ("y" * 300)),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "a").touch()
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(MssctlError, match="a file is in the place of a folder"):
            folder_for_outputs(path).__enter__()
    assert (tmp_path / "a").is_file()


def test_a_folder_without_permission_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("mssctl.separation.outputs.os.access", lambda *_: False)
    with pytest.raises(MssctlError, match="no permission") as caught:
        folder_for_outputs(tmp_path / "out").__enter__()
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_goes_also_where_nothing_is_written(tmp_path):
    left = Staging(tmp_path)
    with folder_for_outputs(tmp_path):
        assert left.path.is_dir()  # its process lives
    os.close(left._lock)
    with folder_for_outputs(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
