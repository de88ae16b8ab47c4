"""Memory, cores, shared memory, locale and file names: each check as it fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mssctl import presets
from mssctl.checks import machine as checks
from mssctl.checks.findings import GIB
from mssctl.hardware import machine
from mssctl.options.doctor import DoctorOptions


def look(check, settings=None):
    findings = list(check(settings or DoctorOptions()))
    for finding in findings:
        assert (finding.state == "ok") == (finding.remedy is None)
    return findings


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (machine.Memory(64 * GIB, 60 * GIB, limited=False), "ok"),
        (machine.Memory(8 * GIB, 1 * GIB, limited=True), "warning"),
    ],
)
def test_memory(monkeypatch, found, state):
    monkeypatch.setattr(machine, "memory", lambda: found)
    (finding,) = look(checks.memory)
    assert finding.state == state
    if found and found.limited:
        assert "container" in finding.summary


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (4, 3), (0.5, 1)])
def test_fewer_cores_than_workers_is_a_note_with_the_number_that_fits(monkeypatch, cores, workers):
    monkeypatch.setattr(machine, "cores", lambda: cores)
    (finding,) = look(checks.cores)
    assert finding.state == "note"
    assert f"training.num_workers={workers}:" in finding.remedy


def test_many_cores_are_all_right(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 64)
    (finding,) = look(checks.cores)
    assert finding.state == "ok"


def test_a_tiny_dev_shm_names_the_presets_it_is_too_small_for(monkeypatch):
    monkeypatch.setattr(machine, "shared_memory", lambda: (64 * 2**20, 64 * 2**20))
    (finding,) = look(checks.shared_memory)
    assert finding.state == "warning"
    assert "small" in finding.summary
    assert "--shm-size" in finding.remedy


def test_a_large_dev_shm_is_all_right(monkeypatch):
    monkeypatch.setattr(machine, "shared_memory", lambda: (64 * GIB, 64 * GIB))
    (finding,) = look(checks.shared_memory)
    assert finding.state == "ok"


@pytest.mark.parametrize(("platform", "state"), [("linux", "warning"), ("darwin", "ok")])
def test_no_dev_shm(monkeypatch, platform, state):
    monkeypatch.setattr(machine, "shared_memory", lambda: None)
    monkeypatch.setattr(sys, "platform", platform)
    (finding,) = look(checks.shared_memory)
    assert finding.state == state


def test_queued_batches_are_reckoned_from_the_preset():
    config = presets.load("small", ["training.num_workers=3", "training.prefetch_factor=2"])
    one = config.training.batch_size * config.training.segment_length * 4 * 2 * 4
    assert checks.queued_bytes(config) == 6 * one


def test_names_come_back_from_this_disk(tmp_path):
    assert [
        finding.state for finding in look(checks.language, DoctorOptions(out=str(tmp_path)))
    ] == [
        "ok",
        "ok",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_locale_without_utf8_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    finding, _ = look(checks.language, DoctorOptions(out=str(tmp_path)))
    assert finding.state == "warning"
    assert "UTF-8" in finding.remedy


def test_a_disk_that_refuses_names_fails_and_one_that_changes_them_is_a_warning(
    monkeypatch, tmp_path
):
    settings = DoctorOptions(out=str(tmp_path))

    def refuse(path, data):
        raise UnicodeEncodeError("ascii", "歌", 0, 1, "ordinal not in range")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        assert look(checks.language, settings)[1].state == "failed"
    monkeypatch.setattr(checks, "UNICODE", "a.wav")
    monkeypatch.setattr(Path, "iterdir", lambda path: iter([Path("A.WAV")]))
    assert look(checks.language, settings)[1].state == "warning"


def test_the_nearest_folder_is_the_first_above_that_exists(tmp_path):
    assert checks.nearest(tmp_path / "a" / "b") == tmp_path
    (tmp_path / "file").touch()
    assert checks.nearest(tmp_path / "file" / "b") == tmp_path
