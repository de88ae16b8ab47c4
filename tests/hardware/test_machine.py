"""Memory and cores as a container sees them."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

import mssctl
from mssctl.hardware import machine


@pytest.fixture
def container(tmp_path, monkeypatch):
    """A machine of 64 GiB, 48 free, inside a container with these files."""

    def make(**files: str):
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        found = SimpleNamespace(total=64 * machine.GIB, available=48 * machine.GIB)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: found)
        monkeypatch.setattr(machine, "CGROUP", tmp_path)

    return make


def test_without_a_limit_memory_is_the_machines(container):
    container(memory_max="max\n")
    assert machine.memory() == machine.Memory(64 * 2**30, 48 * 2**30, limited=False)


def test_a_containers_limit_counts_and_what_it_uses(container):
    container(memory_max=str(8 * 2**30), memory_current=str(3 * 2**30))
    assert machine.memory() == machine.Memory(8 * 2**30, 5 * 2**30, limited=True)


def test_a_quota_of_cores_counts(container, monkeypatch):
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: list(range(16)))
    container(cpu_max="250000 100000\n")
    assert machine.cores() == 2.5
    container(cpu_max="max 100000\n")
    assert machine.cores() == 16


def test_no_shared_memory_is_no_answer(tmp_path, monkeypatch):
    assert machine.shared_memory() is None or len(machine.shared_memory()) == 2
    monkeypatch.setattr(machine, "SHM", tmp_path / "none")
    assert machine.shared_memory() is None


UNIX_ONLY = set(
    "fcntl resource termios tty pty pwd grp posix syslog crypt spwd curses readline".split()
)


def test_no_module_needs_unix_to_be_imported():
    for path in Path(mssctl.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in (item for item in tree.body if isinstance(item, ast.Import | ast.ImportFrom)):
            names = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            assert not {str(name).split(".")[0] for name in names} & UNIX_ONLY, path


def test_the_peak_is_at_least_what_is_held_now():
    assert machine.peak_memory() >= 0.9 * psutil.Process().memory_info().rss
