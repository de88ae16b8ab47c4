"""An initialized CUDA for tests, on machines without one.

Tests import it as ``from presented_cuda import Card, presented_cuda``. What PyTorch's Python code
asks of the driver is answered here; that code itself is the real one, with its refusals (an
un-indexed device for `torch.cuda.set_per_process_memory_fraction`, a negative index). Nothing can
be put on the presented GPU: work runs in `Presented.pretending`, on tensors without data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily

GIB = 2**30


@dataclass(frozen=True)
class Card:
    """A GPU: name as the driver gives it, memory in GiB."""

    name: str = "NVIDIA GeForce RTX 5090"
    capability: tuple[int, int] = (12, 0)
    gib: float = 32.0
    free: float | None = None  # GiB; None: all but what a context takes


RTX_5090 = Card()
T4 = Card("Tesla T4", (7, 5), 15.0)


@dataclass
class Presented:
    """What a test can look at, and change.

    Attributes:
        cards: the GPUs.
        current: index of the current one.
        fractions: index -> what ``set_per_process_memory_fraction`` set.
        memory: index -> bytes ``allocated`` and ``reserved`` now, and their peaks.
        calls: names of the driver's functions that were called, in order.
    """

    cards: tuple[Card, ...]
    current: int = 0
    fractions: dict[int, float] = field(default_factory=dict)
    memory: dict[int, dict[str, int]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    tracker: Any = None

    def properties(self, index: int) -> SimpleNamespace:
        """As ``torch.cuda.get_device_properties`` gives them."""
        card = self.cards[index]
        return SimpleNamespace(
            name=card.name,
            major=card.capability[0],
            minor=card.capability[1],
            total_memory=int(card.gib * GIB),
            multi_processor_count=100,
            warp_size=32,
        )

    def free_and_total(self, index: int) -> tuple[int, int]:
        """As ``torch.cuda.mem_get_info``: bytes."""
        card = self.cards[index]
        free = card.gib - 0.6 if card.free is None else card.free
        return int(free * GIB), int(card.gib * GIB)

    def stats(self, index: int) -> dict[str, Any]:
        """As ``torch.cuda.memory_stats_as_nested_dict``."""
        from mssctl.planning.predict.workspaces import cublas

        held = self.memory.get(index, {})
        if self.tracker is not None:
            own = cublas(self.cards[index].capability)
            reserved = self.tracker.allocator.reserved + own
            held = {"allocated": self.tracker.peak + own, "reserved": reserved}
        return {
            f"{kind}_bytes": {"all": {"current": held.get(kind, 0), "peak": held.get(kind, 0)}}
            for kind in ("allocated", "reserved")
        }

    @contextlib.contextmanager
    def pretending(self) -> Iterator[None]:
        """Run the body on tensors without data that say they are on the GPU.

        Tensors made without a device are the host's, and real. The memory that
        ``torch.cuda`` reports is what `mssctl.planning.predict.tracker.MemoryTracker` counts.
        """
        from mssctl.planning.predict.pretend_cuda import fake_cuda, presented
        from mssctl.planning.predict.tracker import MemoryTracker

        capability = self.cards[self.current].capability
        with (
            fake_cuda(capability) as mode,
            MemoryTracker() as tracker,
            presented(tracker),
        ):
            mode.default = "cpu"
            self.tracker = tracker
            try:
                yield
            finally:
                self.tracker = None

    def _reset_peak(self, _index: int) -> None:
        if self.tracker is not None:
            self.tracker.reset_peak()


class Generator:
    """The random generator of a GPU: its state is real bytes of the host, and nothing else."""

    def __init__(self, index: int) -> None:
        self.device = torch.device("cuda", index)
        self.seed = 0
        self.offset = 0

    def get_state(self) -> torch.Tensor:
        """Sixteen bytes: seed and offset."""
        with unset_fake_temporarily():
            return torch.tensor([self.seed, self.offset], dtype=torch.int64).view(torch.uint8)

    def set_state(self, state: torch.Tensor) -> None:
        """Take what `get_state` gave; the real one reads its bytes."""
        assert not isinstance(state, FakeTensor), "a state without bytes"
        with unset_fake_temporarily():
            assert (state.dtype, state.shape) == (torch.uint8, (16,))
            self.seed, self.offset = state.view(torch.int64).tolist()

    def initial_seed(self) -> int:
        """What it started from."""
        return self.seed

    def manual_seed(self, seed: int) -> Generator:
        """Start anew."""
        self.seed, self.offset = seed, 0
        return self


class Event:
    """An event: each is recorded a millisecond after the one before."""

    clock = 0

    def __init__(self, enable_timing: bool = False, **_: Any) -> None:
        self.enable_timing = enable_timing
        self.time: int | None = None

    def record(self, stream: Any = None) -> None:
        """Put it into the order of the work."""
        Event.clock += 1
        self.time = Event.clock

    def query(self) -> bool:
        """Whether the work before it is done."""
        return True

    def synchronize(self) -> None:
        """Wait for the work before it."""

    def wait(self, stream: Any = None) -> None:
        """Let a stream wait for it."""

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this to ``end``."""
        assert self.enable_timing
        assert self.time is not None
        assert end.time is not None
        return float(end.time - self.time)


class Stream:
    """A stream of work, which is done at once."""

    def __init__(self, device: Any = None, priority: int = 0, **_: Any) -> None:
        self.device = torch.device("cuda", 0) if device is None else torch.device(device)

    def synchronize(self) -> None:
        """Wait for its work."""

    def query(self) -> bool:
        """Whether its work is done."""
        return True

    def wait_stream(self, stream: Stream) -> None:
        """Wait for the work of another."""

    def wait_event(self, event: Event) -> None:
        """Wait for an event."""

    def record_event(self, event: Event | None = None) -> Event:
        """Record an event in it."""
        event = Event() if event is None else event
        event.record(self)
        return event


@contextlib.contextmanager
def presented_cuda(*cards: Card) -> Iterator[Presented]:
    """In the body PyTorch has an initialized CUDA with these GPUs; one RTX 5090 without any."""
    shown = Presented(cards or (RTX_5090,))
    streams = [Stream(torch.device("cuda", index)) for index in range(len(shown.cards))]

    def noted(name: str, answer: Any) -> Any:
        def call(*arguments: Any) -> Any:
            shown.calls.append(name)
            return answer(*arguments)

        return call

    def exchange(index: int) -> int:
        before = shown.current
        if index >= 0:
            assert index < len(shown.cards), "invalid device ordinal"
            shown.current = index
        return before

    driver = {
        "_cuda_getDevice": lambda: shown.current,
        "_cuda_setDevice": exchange,
        "_cuda_getDeviceCount": lambda: len(shown.cards),
        "_cuda_synchronize": lambda: None,
        "_cuda_emptyCache": lambda: None,
        "_cuda_setMemoryFraction": lambda fraction, index: shown.fractions.update(
            {index: fraction}
        ),
        "_cuda_getMemoryFraction": lambda index: shown.fractions.get(index, 1.0),
        "_cuda_memoryStats": shown.stats,
        "_cuda_resetPeakMemoryStats": shown._reset_peak,
        "_cuda_resetAccumulatedMemoryStats": lambda _index: None,
        "_cuda_getCompiledVersion": lambda: 13000,
    }
    with pytest.MonkeyPatch.context() as patch, _switches_kept():
        for name, answer in driver.items():
            patch.setattr(torch._C, name, noted(name, answer), raising=False)
        cuda = {
            "_initialized": True,
            "_is_compiled": lambda: True,
            "is_available": lambda: True,
            "is_initialized": lambda: True,
            "_lazy_init": lambda: None,
            "device_count": lambda: len(shown.cards),
            "_exchange_device": exchange,
            "_maybe_exchange_device": exchange,
            "_get_device_properties": shown.properties,
            "cudart": lambda: SimpleNamespace(cudaMemGetInfo=shown.free_and_total),
            "default_generators": tuple(Generator(index) for index in range(len(shown.cards))),
            "is_current_stream_capturing": lambda: False,
            "current_stream": lambda device=None: streams[shown.current],
            "default_stream": lambda device=None: streams[shown.current],
            "stream": contextlib.nullcontext,
            "Event": Event,
            "Stream": Stream,
        }
        for name, value in cuda.items():
            patch.setattr(torch.cuda, name, value, raising=False)
        for module in (torch.cuda.memory, torch.cuda.random):
            for name in ("_lazy_init", "is_initialized", "device_count"):
                if hasattr(module, name):
                    patch.setattr(module, name, cuda[name])
        patch.setattr(torch.backends.cuda, "is_built", lambda: True)
        patch.setattr(torch.version, "cuda", torch.version.cuda or "13.0")
        yield shown


@contextlib.contextmanager
def _switches_kept() -> Iterator[None]:
    """Put back what `mssctl.hardware.device.configure` changes of the process."""
    from mssctl.hardware.attention import allow_math_attention

    precision, math = torch.get_float32_matmul_precision(), torch.backends.cuda.math_sdp_enabled()
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.benchmark
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        cudnn.allow_tf32, cudnn.benchmark = before
        allow_math_attention(math)
