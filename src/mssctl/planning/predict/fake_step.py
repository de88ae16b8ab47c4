"""Predicts the peak memory of any step of any module by running it on tensors without data.

Source of the method: PyTorch's FakeTensorMode carries shapes, dtypes and storages through the
real code, the real autograd engine and the real autocast; `MemoryTracker` counts the storages as
the CUDA caching allocator would. No GPU is needed, and no GPU build of PyTorch.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from torch import nn
from torch.utils._pytree import tree_leaves

from mssctl.planning.predict.modes import no_collection
from mssctl.planning.predict.pretend_cuda import PretendCuda, fake_cuda, presented
from mssctl.planning.predict.tracker import Allocation, MemoryTracker, labelled, naming
from mssctl.planning.predict.workspaces import CONTEXT, cublas

State = TypeVar("State")
BUILT = "built"


@dataclass(frozen=True)
class Peak:
    """The most memory a step uses at once, in bytes.

    Attributes:
        tensors: all tensors at the peak, rounded as the allocator does, and the workspace of the
            kernel that runs then.
        workspace: of ``tensors``, that workspace.
        cublas: what cuBLAS holds all the time, from the same allocator.
        context: CUDA context and loaded kernels, outside the allocator (assumed).
        reserved: what the allocator asks of the driver, cuBLAS's share included, if it never
            gives a segment back: an upper bound.
        operation: what runs at the peak.
        where: the module it runs in, or ``backward``.
        parts: bytes at the peak by module or purpose.
        largest: the largest single allocations of the step, largest first.
        kernels: attention kernels that ran.
        operations: number of operations of the step.
        work: (floating-point operations, bytes moved, how often) of its matrix products,
            convolutions and attentions.
        moved: bytes that all other operations read and write.
    """

    tensors: int
    workspace: int
    cublas: int
    context: int
    reserved: int
    operation: str
    where: str
    parts: dict[str, int]
    largest: tuple[Allocation, ...]
    kernels: tuple[str, ...]
    operations: int
    work: tuple[tuple[int, int, int], ...]
    moved: int

    @property
    def allocated(self) -> int:
        """What ``torch.cuda.max_memory_allocated`` would report."""
        return self.tensors + self.cublas

    @property
    def flops(self) -> int:
        """Floating-point operations of the step; a multiplication and an addition are two."""
        return sum(flops * times for flops, _, times in self.work)

    @property
    def device(self) -> int:
        """What the card must have free: allocated memory and CUDA's context."""
        return self.allocated + self.context


def predict_peak(
    build: Callable[[], State],
    step: Callable[[State], object],
    *,
    capability: tuple[int, int] = (9, 0),
    attention: str | None = None,
    steps: int = 2,
) -> Peak:
    """Predict the peak CUDA memory of the last of ``steps`` calls of ``step(build())``.

    Both run on fake tensors that say they are on ``cuda``. In ``build`` tensors made without a
    device are on the GPU as well, in ``step`` they are on the host, as they would be.

    Args:
        build: makes the modules, and whatever else the step needs.
        step: one training step or forward pass.
        capability: compute capability of the card.
        attention: pins an attention kernel: flash, cudnn, efficient or math.
        steps: two by default, as the optimizer makes its state at the end of the first.

    Raises:
        Exception: what the code raises; also where it looks at the values of tensors.
    """
    tracker = MemoryTracker()
    mode = pretended(build, step, tracker, capability=capability, attention=attention, steps=steps)
    handles = cublas(capability)
    return Peak(
        tensors=tracker.peak,
        workspace=tracker.peak_workspace,
        cublas=handles,
        context=CONTEXT,
        reserved=tracker.allocator.reserved + handles,
        operation=tracker.peak_operation,
        where=tracker.peak_where,
        parts={name: size for name, size in tracker.peak_parts.items() if size},
        largest=tuple(sorted(tracker.largest.values(), key=lambda item: -item.size)),
        kernels=tuple(sorted(mode.kernels)),
        operations=tracker.operations,
        work=tuple((flops, moved, times) for (flops, moved), times in tracker.work.items()),
        moved=tracker.moved,
    )


def pretended(
    build: Callable[[], State],
    step: Callable[[State], object],
    tracker: MemoryTracker,
    *,
    capability: tuple[int, int],
    attention: str | None,
    steps: int,
) -> PretendCuda:
    """Run ``steps`` calls of ``step(build())`` under ``tracker``, which then holds the last one."""
    with (
        no_collection(),
        fake_cuda(capability, attention) as mode,
        tracker,
        presented(tracker),
    ):
        with labelled(BUILT):
            state = build()
        mode.default = "cpu"
        with naming(tracker, list(_modules(state))):
            for _ in range(steps):
                tracker.reset_peak()
                step(state)
        del state
    return mode


def _modules(state: object) -> Iterable[nn.Module]:
    """The modules that a state is, has as attributes, or holds."""
    for part in tree_leaves(state):
        for value in (part, *getattr(part, "__dict__", {}).values()):
            if isinstance(value, nn.Module):
                yield value
