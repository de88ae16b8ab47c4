"""libsndfile and ffmpeg: each check as it fails."""

from __future__ import annotations

import builtins
import shutil

import pytest
import soundfile

from mssctl.tasks.checks import audio as checks
from mssctl.tasks.checks.findings import Settings


def look(check):
    (finding,) = check(Settings())
    assert (finding.state == "ok") == (finding.remedy is None)
    return finding


def test_this_libsndfile_writes_and_reads_every_format():
    finding = look(checks.sndfile)
    assert finding.state == "ok"
    assert "WAV, FLAC, OGG, MP3" in finding.summary


@pytest.mark.parametrize(("kind", "state"), [("MP3", "warning"), ("FLAC", "failed")])
def test_a_format_that_is_missing_is_named(monkeypatch, kind, state):
    write = soundfile.write

    def without(file, data, rate, *, format, subtype):  # noqa: A002
        if format == kind:
            raise soundfile.LibsndfileError(1)
        write(file, data, rate, format=format, subtype=subtype)

    monkeypatch.setattr(soundfile, "write", without)
    finding = look(checks.sndfile)
    assert finding.state == state
    assert kind in finding.summary


def test_audio_that_comes_back_changed_fails(monkeypatch):
    read = soundfile.read
    monkeypatch.setattr(soundfile, "read", lambda file: (0.5 * read(file)[0], 44_100))
    finding = look(checks.sndfile)
    assert finding.state == "failed"
    assert "comes back changed" in finding.summary


def test_a_soundfile_without_its_library_fails(monkeypatch):
    real = builtins.__import__

    def importing(name, *rest, **more):
        if name == "soundfile":
            raise OSError("sndfile library not found")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", importing)
    assert look(checks.sndfile).state == "failed"


def program(tmp_path, monkeypatch, text):
    path = tmp_path / "ffmpeg"
    path.write_text(text)
    path.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(path))


def test_no_ffmpeg_is_a_note(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert look(checks.ffmpeg).state == "note"


def test_an_ffmpeg_that_runs_tells_its_version(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "#!/bin/sh\necho 'ffmpeg version 7.1 Copyright (c) people'\n")
    assert look(checks.ffmpeg).summary == "7.1"


@pytest.mark.parametrize(
    "text",
    ["#!/bin/sh\necho 'libav.so: cannot open' >&2\nexit 127\n", "#!/no/such/shell\n"],
)
def test_an_ffmpeg_that_does_not_run_is_a_warning(tmp_path, monkeypatch, text):
    program(tmp_path, monkeypatch, text)
    assert look(checks.ffmpeg).state == "warning"


def test_an_ffmpeg_that_hangs_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "FFMPEG_SECONDS", 0.2)
    program(tmp_path, monkeypatch, "#!/bin/sh\nexec sleep 30\n")
    assert look(checks.ffmpeg).state == "warning"
