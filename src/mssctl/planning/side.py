"""Two predictions at once: one here, one in a process beside this one."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Given = TypeVar("Given")
Result = TypeVar("Result")
Many = Callable[[Sequence[Given]], list[Result]]


@contextmanager
def side_by_side(work: Callable[[Given], Result], warm_up: Given) -> Iterator[Many[Given, Result]]:
    """In the body, a function that does ``work`` on each of several things, two at a time.

    A prediction changes the process while it lasts, so two of them need two processes. The second
    one is forked, which autograd forbids once it has run: it is made now, and does ``warm_up``,
    whose result is thrown away. Where it cannot be made, or cannot do that, all is done here.
    """
    if sys.platform != "linux" or threading.active_count() > 1:  # a thread may hold a lock
        yield lambda given: [work(item) for item in given]
        return
    context = multiprocessing.get_context("fork")
    # The threads of torch's pool are not forked: the copy must not wait for them.
    pool = ProcessPoolExecutor(1, context, torch.set_num_threads, (1,))
    ready = pool.submit(work, warm_up)

    def many(given: Sequence[Given]) -> list[Result]:
        if len(given) < 2 or ready.exception() is not None:
            return [work(item) for item in given]
        there = [pool.submit(work, item) for item in given[1::2]]
        results: list[Result] = [work(given[0])] * len(given)
        results[2::2] = [work(item) for item in given[2::2]]
        results[1::2] = [future.result() for future in there]
        return results

    try:
        yield many
    finally:
        for process in list(pool._processes.values()):  # it may be at work that nobody awaits
            process.terminate()
        pool.shutdown(cancel_futures=True)
