"""How busy a run's GPU is, as the driver's NVML has it."""

import time

import torch

from mssctl.hardware import nvml

_EVERY = 10.0  # seconds from one reading to the next: one takes milliseconds


class GpuUse:
    """Reads the share of time in which a GPU was busy, now and then.

    Args:
        device: of the run.
    """

    def __init__(self, device: torch.device) -> None:
        number = device.index or 0
        self._index = nvml.index_of(number) if device.type == "cuda" else None
        self._read_at = float("-inf")
        self._percent: int | None = None

    def percent(self) -> int | None:
        """The newest reading; None where there is no GPU, or nothing can be read from it."""
        if self._index is None:
            return None
        now = time.monotonic()
        if now - self._read_at >= _EVERY:
            self._read_at = now
            try:
                found = [gpu for gpu in nvml.gpus() if gpu.index == self._index]
            except nvml.NvmlError:
                self._index = None
                return None
            self._percent = found[0].utilisation if found else None
        return self._percent
