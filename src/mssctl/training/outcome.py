"""What a step measured, on its way to the host: nobody waits for the steps behind it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mssctl.training.step import StepOutcome


@dataclass(frozen=True)
class Outcome:
    """What one step measured, as numbers; ``finite`` is False if the step was skipped."""

    loss: float
    terms: dict[str, float]
    grad_norm: float
    finite: bool


@dataclass(frozen=True)
class OnItsWay:
    """Values that are copied to the host. On a GPU ``event`` follows the copy."""

    names: tuple[str, ...]
    values: Tensor
    event: torch.cuda.Event | None

    def read(self) -> Outcome:
        """The numbers; waits for this copy, and not for what was queued after it."""
        if self.event is not None:
            self.event.synchronize()
        loss, norm, good, *terms = self.values.tolist()
        return Outcome(loss, dict(zip(self.names, terms, strict=True)), norm, bool(good))


class Outbox:
    """Sends outcomes to the host.

    A plain read waits for the whole queue, the next step in it. So each outcome is copied right
    behind its step, into one of two pinned buffers, with an event to wait for.

    Args:
        device: of the steps.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._buffers: dict[tuple[int, int], Tensor] = {}

    def send(self, step: int, outcome: StepOutcome) -> OnItsWay:
        """Start the copy. The outcome of step ``step - 2`` must have been read.

        Args:
            step: its number, which chooses the buffer.
            outcome: of it, on the device.
        """
        numbers = [outcome.loss, outcome.grad_norm, outcome.finite, *outcome.terms.values()]
        values = torch.stack([number.float() for number in numbers])
        names = tuple(outcome.terms)
        if not self._cuda:
            return OnItsWay(names, values, None)
        buffer = self._buffer(step % 2, len(numbers))
        buffer.copy_(values, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return OnItsWay(names, buffer, event)

    def _buffer(self, slot: int, length: int) -> Tensor:
        if (slot, length) not in self._buffers:
            self._buffers[slot, length] = torch.zeros(length).pin_memory()
        return self._buffers[slot, length]
