"""Memory and cores as a container sees them."""

from __future__ import annotations

import os

import pytest

from mssctl.hardware import machine

KIB_IN_GIB = 1024**2


@pytest.fixture
def container(tmp_path, monkeypatch):
    """A machine of 64 GiB, 48 free, inside a container with these files."""

    def make(**files: str):
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        meminfo = tmp_path / "meminfo"
        meminfo.write_text(
            f"MemTotal: {64 * KIB_IN_GIB} kB\nMemAvailable: {48 * KIB_IN_GIB} kB\nHugePages: 0\n"
        )
        monkeypatch.setattr(machine, "CGROUP", tmp_path)
        monkeypatch.setattr(machine, "MEMINFO", meminfo)

    return make


def test_without_a_limit_memory_is_the_machines(container):
    container(memory_max="max\n")
    assert machine.memory() == machine.Memory(64 * 2**30, 48 * 2**30, limited=False)


def test_a_containers_limit_counts_and_what_it_uses(container):
    container(memory_max=str(8 * 2**30), memory_current=str(3 * 2**30))
    assert machine.memory() == machine.Memory(8 * 2**30, 5 * 2**30, limited=True)


def test_no_meminfo_is_no_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "none")
    assert machine.memory() is None


def test_a_quota_of_cores_counts(container, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    container(cpu_max="250000 100000\n")
    assert machine.cores() == 2.5
    container(cpu_max="max 100000\n")
    assert machine.cores() == 16


def test_no_shared_memory_is_no_answer(tmp_path, monkeypatch):
    assert machine.shared_memory() is None or len(machine.shared_memory()) == 2
    monkeypatch.setattr(machine, "SHM", tmp_path / "none")
    assert machine.shared_memory() is None
