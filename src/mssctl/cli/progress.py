"""Shows events on stderr: bars on a terminal, a line now and then in a log file."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from mssctl.cli.options import Display
from mssctl.cli.streams import printable_lines
from mssctl.events import Event, Notice, Saved, Step, Validated
from mssctl.events import Progress as Advance

_SECONDS_BETWEEN_LINES = 10.0


class EventPrinter:
    """A `Reporter` that prints. Use as a context manager, so that the bar is taken down."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._bars = display.progress and not display.quiet and self._console.is_terminal
        self._lines = display.progress and not display.quiet and not self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._bars,
        )
        self._tasks: dict[str, TaskID] = {}
        self._last_line = float("-inf")
        self._pace = Pace()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Advance():
                self._advance(event.task, event.done, event.total, progress_detail(event))
            case Step():
                self._step(event)
            case Validated():
                self._say(validation_line(event, every_stem=self._display.verbose > 0))
            case Saved():
                if self._display.verbose:
                    self._say(f"saved {event.what}: {event.path}")
            case Notice():
                self._notice(event)

    def _advance(self, name: str, done: float, total: float, detail: str) -> None:
        if name not in self._tasks:
            self._progress.start()  # not before: a command that reports nothing shows nothing
            task = self._progress.add_task(name, total=total, completed=int(done), detail=detail)
            self._tasks[name] = task
        self._progress.update(self._tasks[name], completed=done, total=total, detail=detail)
        if done >= total:
            self._progress.remove_task(self._tasks.pop(name))

    def _step(self, event: Step) -> None:
        self._pace.add(event.seconds)
        detail = step_detail(event, self._pace.seconds_per_step)
        self._advance("training", event.step, event.total_steps, detail)
        now = time.monotonic()
        if self._lines and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = clock((event.total_steps - event.step) * self._pace.seconds_per_step)
            self._say(f"step {event.step}/{event.total_steps}: {detail}, {left} left")
        if self._display.verbose > 1:
            terms = ", ".join(f"{name} {value:.4g}" for name, value in event.terms.items())
            self._say(f"step {event.step}: {terms}, grad norm {event.grad_norm:.3g}")

    def _notice(self, event: Notice) -> None:
        if event.level == "warning":
            text = Text.assemble(("warning: ", "yellow"), printable_lines(event.message))
            self._console.print(text, soft_wrap=True)
        else:
            self._say(f"note: {event.message}")

    def _say(self, line: str) -> None:
        if not self._display.quiet:
            self._console.print(Text(printable_lines(line)), soft_wrap=True)


class Pace:
    """Seconds per step, averaged over the last few dozen."""

    def __init__(self) -> None:
        self.seconds_per_step = 0.0

    def add(self, seconds: float) -> None:
        """Take the duration of one step."""
        old = self.seconds_per_step
        self.seconds_per_step = seconds if old == 0 else 0.95 * old + 0.05 * seconds


def progress_detail(event: Advance) -> str:
    """``42/180 s  3.1 x real time``."""
    rate = "" if event.rate is None else f"  {event.rate:.1f} {event.rate_unit}"
    return f"{event.done:g}/{event.total:g} {event.unit}{rate}"


def validation_line(event: Validated, *, every_stem: bool) -> str:
    """``epoch 2, step 2000: sdr 3.46, si_sdr 2.10 (best so far)``."""
    scores = ", ".join(
        f"{name} {value:.2f}"
        for name, value in event.scores.items()
        if every_stem or "/" not in name
    )
    best = " (best so far)" if event.best else ""
    return f"epoch {event.epoch}, step {event.step}: {scores}{best}"


def step_detail(event: Step, seconds_per_step: float) -> str:
    """``epoch 2, loss -3.210, lr 5.00e-04, mem=3.1/4.0 GiB, 2.31 step/s``."""
    parts = [f"epoch {event.epoch}", f"loss {event.loss:.3f}", f"lr {event.lr:.2e}"]
    if event.memory:
        allocated, reserved = event.memory
        parts.append(f"mem={allocated:.1f}/{reserved:.1f} GiB")
    if seconds_per_step > 0:
        parts.append(f"{1 / seconds_per_step:.2f} step/s")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """``h:mm:ss``."""
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}"
