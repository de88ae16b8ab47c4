"""Two predictions at once: one here, one in a process beside this one."""

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import torch

from mssctl.hardware.processes import serve

Given = TypeVar("Given")
Result = TypeVar("Result")
Many = Callable[[Sequence[Given]], list[Result]]


@contextlib.contextmanager
def side_by_side(work: Callable[[Given], Result], warm_up: Given) -> Iterator[Many[Given, Result]]:
    """In the body, a function that does ``work`` on each of several things, two at a time.

    A prediction changes the process while it lasts, so two of them need two processes. The second
    one is forked, which autograd forbids once it has run: it is made now, and does ``warm_up``,
    whose result is thrown away. What it cannot do is done here, where it raises what it raises.
    """
    if sys.platform != "linux" or threading.active_count() > 1:  # a thread may hold a lock
        yield lambda given: [work(item) for item in given]
        return
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(1, context, _begin, (os.getpid(),))
    pool.submit(work, warm_up)

    def many(given: Sequence[Given]) -> list[Result]:
        there = {}
        with contextlib.suppress(BrokenProcessPool):
            for index in range(1, len(given), 2):
                there[index] = pool.submit(work, given[index])
        done = {index: work(item) for index, item in enumerate(given) if index not in there}
        for index, future in there.items():
            done[index] = work(given[index]) if future.exception() else future.result()
        return [done[index] for index in range(len(given))]

    try:
        yield many
    finally:
        for process in list(pool._processes.values()):  # it may be at work that nobody awaits
            process.terminate()
        pool.shutdown(cancel_futures=True)


def _begin(parent: int) -> None:
    """In the other process: use no threads, and end when the first one does, however it ends."""
    torch.set_num_threads(1)  # the threads of torch's pool were not forked: nothing may wait there
    serve(parent)
