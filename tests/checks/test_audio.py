"""libsndfile and PyAV: each check as it fails."""

from __future__ import annotations

import builtins
import sys

import av
import pytest
import soundfile

from mssctl.checks import audio as checks
from mssctl.options.doctor import DoctorOptions


def look(check):
    (finding,) = check(DoctorOptions())
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


def test_pyav_decodes_what_music_is_in():
    finding = look(checks.pyav)
    assert finding.state == "ok"
    assert "aac" in finding.summary
    assert any(line.startswith("libavcodec ") for line in finding.details)


@pytest.mark.parametrize(("decoder", "state"), [("wmav2", "warning"), ("opus", "failed")])
def test_a_decoder_that_is_missing_is_named(monkeypatch, decoder, state):
    codecs = av.codec.codecs_available - {decoder}
    monkeypatch.setattr(av.codec, "codecs_available", codecs)
    finding = look(checks.pyav)
    assert finding.state == state
    assert f"no decoder for {decoder}" in finding.summary


def test_a_pyav_without_its_libraries_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert look(checks.pyav).state == "failed"
