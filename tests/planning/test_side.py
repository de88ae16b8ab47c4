"""Predictions in two processes are those of one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mssctl.planning.parallel import side_by_side


@pytest.fixture(autouse=True)
def no_other_threads(monkeypatch):
    """Other tests of the same process leave some behind."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


def square(number: int) -> int:
    return number * number


def test_the_results_come_in_order():
    with side_by_side(square, 0) as many:
        assert many([3, 1, 2]) == [9, 1, 4]
        assert many([5]) == [25]
        assert many([]) == []


def process(_number: int) -> int:
    return os.getpid()


def test_the_other_process_is_made_once():
    with side_by_side(process, 0) as many:
        here, there, *more = many([0, 1, 2, 3])
        assert here == os.getpid() != there
        assert more == [here, there]


def test_beside_another_thread_nothing_is_forked(monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    with side_by_side(process, 0) as many:
        assert many([0, 1]) == [os.getpid()] * 2


def test_the_other_process_ends_with_the_first_however_that_ends():
    program = (
        "import time\n"
        "from mssctl.planning.parallel import side_by_side\n"
        "with side_by_side(print, 'warm') as many: time.sleep(60)\n"
    )
    first = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    children: list[int] = []
    while not children and time.monotonic() < deadline:
        path = Path(f"/proc/{first.pid}/task/{first.pid}/children")
        children = [int(word) for word in path.read_text().split()]
        time.sleep(0.05)
    time.sleep(1.0)  # until it has begun
    first.kill()
    first.communicate()
    assert children
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


HERE = os.getpid()


def only_here(number: int) -> int:
    if os.getpid() != HERE:
        raise RuntimeError("autograd has run before the fork")
    return number


def test_what_the_other_process_cannot_do_is_done_here():
    with side_by_side(only_here, 0) as many:
        assert many([1, 2]) == [1, 2]


def dies_elsewhere(number: int) -> int:
    if os.getpid() != HERE:
        os._exit(9)
    return number


def test_where_the_other_process_dies_all_is_done_here():
    with side_by_side(dies_elsewhere, 0) as many:
        assert many([1, 2]) == [1, 2]


def fails_on_two(number: int) -> int:
    if number == 2:
        raise ValueError("two")
    return number


def test_an_error_is_raised_as_it_would_be_here():
    with side_by_side(fails_on_two, 0) as many, pytest.raises(ValueError, match="two"):
        many([1, 2])


def sleeps_elsewhere(_number: int) -> None:
    if os.getpid() != HERE:
        time.sleep(60)


def test_work_that_nobody_awaits_is_given_up():
    start = time.perf_counter()
    with side_by_side(sleeps_elsewhere, 0) as many:
        many([1])
    assert time.perf_counter() - start < 10
