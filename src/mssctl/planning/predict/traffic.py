"""Counts what a step reads, writes, computes and launches, by the part of the model.

On fake tensors, as `mssctl.planning.predict.fake_step` finds the peak: no GPU is needed. What an
operation moves is what its tensors hold, each read or written once: a kernel with several passes,
or one whose inputs stay in the cache, differs. Views move nothing; a value that is repeated along
an axis is read once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import flop_registry

from mssctl.planning.predict.fake_step import pretended
from mssctl.planning.predict.moved import moved_by
from mssctl.planning.predict.tracker import MemoryTracker, flops_of, purpose

State = TypeVar("State")
aten = torch.ops.aten

CONVOLUTIONS, REST, UPDATE = "convolutions", "loss and transforms", "weight update"


@dataclass
class Traffic:
    """What one part of a step costs.

    Attributes:
        moved: bytes that its operations read and write.
        flops: floating-point operations of its products, convolutions and attentions.
        kernels: operations that launch one kernel, or more.
        operations: those, views and allocations: what the host has to go through.
        kept: bytes alive when the backward pass starts that this part has made.
    """

    moved: int = 0
    flops: int = 0
    kernels: int = 0
    operations: int = 0
    kept: int = 0


def count_traffic(
    build: Callable[[], State],
    step: Callable[[State], object],
    names: Mapping[str, str],
    *,
    capability: tuple[int, int] = (9, 0),
    attention: str | None = None,
) -> dict[str, Traffic]:
    """Count one call of ``step(build())``; arguments as of `predict_peak`.

    Args:
        build: makes the modules, and whatever else the step needs.
        step: one training step.
        names: attribute of a module -> the part it belongs to.
        capability: compute capability of the card.
        attention: pins an attention kernel.

    Returns:
        Part -> its traffic. Convolutions are a part of their own. An operation of the backward
        pass belongs to the part whose forward pass it differentiates.
    """
    counter = TrafficCounter(names)
    pretended(build, step, counter, capability=capability, attention=attention, steps=1)
    return counter.found()


class TrafficCounter(MemoryTracker):
    """A `MemoryTracker` whose labels are the parts that operations belong to."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.traffic: dict[str, Traffic] = {}
        self._part_of_node: dict[int, str] = {}  # by the sequence number of an autograd node
        self._kept: dict[str, int] | None = None
        self._last = REST
        super().__init__()

    def reset_peak(self) -> None:
        """Forget what was counted so far."""
        super().reset_peak()
        self.traffic.clear()
        self._kept = None

    def found(self) -> dict[str, Traffic]:
        """Part -> what was counted since the last `reset_peak`."""
        kept = self._kept if self._kept is not None else self.parts
        for part, traffic in self.traffic.items():
            traffic.kept = kept.get(part, 0)
        return dict(self.traffic)

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._kept is None and _in_backward():
            self._kept = dict(self.parts)
        self._last = self._part(func)
        before = self.operations
        out = super()._run(func, args, kwargs)
        self._of_last().operations += self.operations - before  # none on the host
        return out

    def _label(self) -> str:
        return purpose() or self._last

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        super()._count(func, args, kwargs, out)
        traffic = self._of_last()
        traffic.moved += moved_by(func, args, kwargs, out)
        traffic.kernels += 1
        if func.overloadpacket in flop_registry:
            traffic.flops += flops_of(func, args, kwargs, out)

    def _of_last(self) -> Traffic:
        return self.traffic.setdefault(self._last, Traffic())

    def _part(self, func: Any) -> str:
        if self.modules:  # in the forward pass, or where that is computed again
            part = CONVOLUTIONS if func in _CONVOLUTIONS else self._named(self.modules[-1])
        elif _in_backward():
            node = torch._C._current_autograd_node()
            if node is None:  # the engine adds up gradients
                return self._last
            return self._part_of_node.get(node._sequence_nr(), self._last)
        else:
            part = UPDATE if self._kept is not None else REST
        if torch.is_grad_enabled() or part is not REST:
            # The node of an operation is made before the operation is run.
            number = torch.autograd._get_sequence_nr() - 1  # type: ignore[attr-defined]
            self._part_of_node.setdefault(number, part)
        return part

    def _named(self, path: str) -> str:
        for attribute in reversed(path.split(".")):
            if attribute in self.names:
                return self.names[attribute]
        return path.split(".", maxsplit=1)[0] or REST


def _in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1


_CONVOLUTIONS = {aten.convolution.default}
