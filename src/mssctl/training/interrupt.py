"""The wish to stop: SIGINT, SIGTERM and SIGHUP while a run is at work."""

import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from mssctl.events import Notice, Reporter
from mssctl.hardware.processes import asked_to_end


class Interrupt:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a wish to stop, and the second into an abort.

    A SIGHUP after another signal does not count: a terminal that closes and its shell each send
    one. Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self, report: Reporter) -> None:
        self.requested = False
        self._report = report
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in asked_to_end():
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            if signal.Signals(number).name == "SIGHUP":
                return
            raise KeyboardInterrupt
        self.requested = True
        # The wish counts, whatever becomes of the words: the terminal may have gone.
        with suppress(Exception):
            self._report(
                Notice("stopping after this step with a checkpoint; again to stop at once")
            )
