"""The most memory that a piece of work needs, also where others ran before it in this process."""

import ctypes
import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

_INTERVAL = 0.02  # seconds between two looks at main memory


@dataclass
class Peak:
    """Bytes at most; 0 until the work is done.

    Attributes:
        main: that this process held in main memory; what is held for less than 0.02 s may be
            missed.
        gpu: that PyTorch allocated on the GPU during the work; None without CUDA.
    """

    main: int = 0
    gpu: int | None = None


@contextmanager
def peak_during(device: torch.device) -> Iterator[Peak]:
    """Watch the memory while the body runs; the `Peak` is filled in when it ends.

    `mssctl.hardware.machine.peak_memory` is of the whole process: a small model that runs after a
    large one would be given the large one's peak. What the work before has freed goes back to the
    system first, where the C library can do that (glibc); elsewhere it counts.
    """
    _give_back()
    peak, done, process = Peak(), threading.Event(), psutil.Process()

    def look() -> None:
        peak.main = max(peak.main, process.memory_info().rss)

    def watch() -> None:
        while not done.wait(_INTERVAL):
            look()

    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    thread = threading.Thread(target=watch, daemon=True)
    look()
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        look()
        if cuda:
            peak.gpu = torch.cuda.max_memory_allocated(device)


def _give_back() -> None:
    """Free what nobody refers to, and return freed memory to the system."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
        if trim is not None:
            trim(0)
