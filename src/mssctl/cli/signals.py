"""Lets a shutdown, `timeout` or a closed terminal end a command as Ctrl-C does."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mssctl.hardware.processes import asked_to_end


@contextmanager
def ended_like_interrupted() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt in the body, so that it cleans up.

    A second SIGTERM ends the process at once. A second SIGHUP does nothing: a terminal that closes
    and its shell each send one. Training handles all of them itself. Processes that were forked
    meanwhile end at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def end(number: int, _frame: object) -> None:
        if os.getpid() != owner:
            os._exit(128 + number)
        for other in before:
            ignored = other.name == "SIGHUP"
            signal.signal(other, signal.SIG_IGN if ignored else signal.SIG_DFL)
        raise KeyboardInterrupt

    handled = (number for number in asked_to_end() if number != signal.SIGINT)
    before = {number: signal.signal(number, end) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
