"""The wish to stop: SIGINT and SIGTERM while a run is at work."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from mssctl.events import Notice, Reporter


class Interrupt:
    """Turns the first SIGINT or SIGTERM into a wish to stop, and the second into an abort.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self, report: Reporter) -> None:
        self.requested = False
        self._report = report
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
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

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        # Python refuses to print from a handler that broke into a print: the wish counts.
        with suppress(RuntimeError):
            self._report(
                Notice("stopping after this step with a checkpoint; again to stop at once")
            )
