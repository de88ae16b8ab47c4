"""Processes that work for another one outlive a terminal that closes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mssctl.hardware.processes import Place, place

TRACKER = """
import os, signal
from multiprocessing import resource_tracker
from mssctl.hardware.processes import start_tracker
start_tracker()
tracker = resource_tracker._resource_tracker
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    os.kill(tracker._pid, number)
lock = __import__("multiprocessing").Lock()
print(tracker._check_alive(), signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


def test_the_tracker_of_multiprocessing_ignores_a_closed_terminal():
    """Else each pool complains at its end, and leaves its semaphores."""
    done = subprocess.run(
        [sys.executable, "-c", TRACKER], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("True False\n", "")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Place(0, 1, 0)),
        ({"WORLD_SIZE": "1"}, Place(0, 1, 0)),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, Place(0, 1, 0)),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Place(3, 4, 1)),
        ({"RANK": "", "WORLD_SIZE": "", "LOCAL_RANK": ""}, Place(0, 1, 0)),
    ],
)
def test_what_torchrun_says_is_understood(monkeypatch, variables, expected):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert place() == expected
