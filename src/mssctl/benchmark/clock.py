"""Times of steps and of their parts, on a CPU by the clock and on CUDA by events.

On CUDA nothing here waits for the device inside a step: events are read after the last one.
"""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from mssctl.hardware import nvml

FORWARD, LOSS, BACKWARD, OPTIMIZER, REST = "forward", "loss", "backward", "optimizer", "rest"


class Clock:
    """Marks moments, and gives the seconds between them once all work is done."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def now(self) -> Any:
        """A moment, in the order of the device's work."""
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.cuda:
            torch.cuda.synchronize()

    def between(self, start: Any, end: Any) -> float:
        """Seconds; after `wait`."""
        return float(start.elapsed_time(end)) / 1e3 if self.cuda else float(end - start)


def least_seconds(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The least time that ``work`` takes, until the device has done it."""
    clock, times = Clock(device), []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        clock.wait()
        times.append(time.perf_counter() - start)
    return min(times)


def percentile(seconds: list[float], share: float) -> float:
    """The time of the step that is slower than this share of the others."""
    return sorted(seconds)[round(share * (len(seconds) - 1))]


class Parts:
    """Where a training step spends its time, seen by hooks while they are in place.

    ``forward`` is the model's; ``loss`` the loss and its own gradient; ``backward`` the model's,
    with clipping; ``optimizer`` its step; ``rest`` what is left, such as the moving average.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, clock: Clock) -> None:
        self.clock = clock
        self.marks: list[tuple[str, Any]] = []
        self._hooks = [
            model.register_forward_pre_hook(lambda *_: self._mark(FORWARD)),
            model.register_forward_hook(self._forward_done),
            optimizer.register_step_pre_hook(lambda *_: self._mark(OPTIMIZER)),
            optimizer.register_step_post_hook(lambda *_: self._mark(REST)),
        ]

    def _forward_done(self, _model: nn.Module, _given: Any, estimate: Tensor) -> None:
        self._mark(LOSS)
        estimate.register_hook(lambda _gradient: self._mark(BACKWARD))

    def _mark(self, part: str) -> None:
        self.marks.append((part, self.clock.now()))

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around one step."""
        self._mark(REST)
        yield
        self._mark("")

    def shares(self) -> dict[str, float]:
        """Part -> its share of all steps seen; they add up to 1."""
        self.clock.wait()
        total = dict.fromkeys((FORWARD, LOSS, BACKWARD, OPTIMIZER, REST), 0.0)
        for (part, start), (_, end) in zip(self.marks, self.marks[1:], strict=False):
            if part:
                total[part] += self.clock.between(start, end)
        whole = sum(total.values()) or 1.0
        return {part: seconds / whole for part, seconds in total.items()}

    def remove(self) -> None:
        """Take the hooks away."""
        for hook in self._hooks:
            hook.remove()


class Watch:
    """Samples a GPU's utilization, power and clock by NVML during the work, five times a second."""

    def __init__(self, device: torch.device) -> None:
        self.samples: list[nvml.Gpu] = []
        self._index = nvml.index_of(device.index or 0) if device.type == "cuda" else None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._done.wait(0.2):
            try:
                found = nvml.gpus()
            except nvml.NvmlError:
                return
            self.samples += [gpu for gpu in found if gpu.index == self._index]

    def __enter__(self) -> Self:
        if self._index is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def mean(self, name: str) -> float | None:
        """Mean of an attribute of `nvml.Gpu` over the samples."""
        values = [getattr(gpu, name) for gpu in self.samples]
        known = [float(value) for value in values if value is not None]
        return statistics.fmean(known) if known else None
