"""Follows every block of memory from birth to death, and remembers what was alive at the peak."""

import contextlib
import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mssctl.planning.predict.allocator import Block, CachingAllocator, rounded
from mssctl.planning.predict.moved import launches, moved_by, tensors_in
from mssctl.planning.predict.workspaces import transient

aten = torch.ops.aten

_COMPOSED = torch._C.DispatchKey.CompositeImplicitAutograd
_has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key

_LABEL: ContextVar[str | None] = ContextVar("_LABEL", default=None)

OUTSIDE = "outside modules"
BACKWARD = "backward"
GRADIENTS = "gradients"


def purpose() -> str | None:
    """What `labelled` says of the memory that is allocated now."""
    return _LABEL.get()


@contextlib.contextmanager
def labelled(name: str) -> Iterator[None]:
    """Count what is allocated in the body under ``name``."""
    token = _LABEL.set(name)
    try:
        yield
    finally:
        _LABEL.reset(token)


@dataclass(frozen=True)
class Allocation:
    """One tensor's memory: what made it, and where."""

    size: int
    shape: tuple[int, ...]
    dtype: str
    operation: str
    where: str


@dataclass
class _Alive:
    """Memory in use: a weak reference to its storage, rounded size, place and label."""

    storage: weakref.ref[Any]
    size: int
    block: Block | None
    label: str


class MemoryTracker(TorchDispatchMode):
    """Counts the memory of fake tensors as the CUDA caching allocator would.

    To be entered after the fake mode, so that it is called before it. Operations on real tensors
    only are the host's business: they run for real and count nothing.

    Attributes:
        live: bytes in use now.
        peak: most bytes in use at once, kernel workspaces included.
        peak_operation: what ran then, and where.
        peak_workspace: of ``peak``, bytes inside the kernel that ran then.
        peak_parts: bytes in use then, by label.
        largest: the largest single allocations, by operation and shape.
        computing: whether an operation runs now.
        operations: how many have run.
        work: how often each (floating-point operations, bytes read and written) has been done by
            a matrix product, convolution or attention.
        moved: bytes read and written by all other operations.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.allocator = CachingAllocator()
        self.parts: dict[str, int] = defaultdict(int)
        self.live = 0
        self.modules: list[str] = []
        self.computing = False
        self._alive: dict[int, _Alive] = {}
        self.reset_peak()

    def reset_peak(self) -> None:
        """Forget the peak and the work so far."""
        self.work: Counter[tuple[int, int]] = Counter()
        self.moved = self.operations = self.peak_workspace = self._tenth = 0
        self.peak, self.peak_parts = self.live, dict(self.parts)
        self.peak_operation = self.peak_where = ""
        self.largest: dict[tuple[str, tuple[int, ...]], Allocation] = {}

    def relabel(self, tensor: Tensor, label: str) -> None:
        """Count a tensor's memory under ``label`` from now on."""
        alive = self._alive.get(tensor.untyped_storage()._cdata)
        if alive is not None and alive.label != label:
            self.parts[alive.label] -= alive.size
            self.parts[label] += alive.size
            alive.label = label

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation and take note of the memory it took."""
        if func is torch.ops.prim.device.default:
            return args[0].fake_device
        if torch.is_inference_mode_enabled() and _has_kernel(func.name(), _COMPOSED):
            # Here composed operators, an inverse STFT say, come whole: look at what is in them.
            with self:
                return func._op_dk(_COMPOSED, *args, **(kwargs or {}))
        outside = not self.computing
        self.computing = True
        try:
            return self._run(func, args, kwargs or {})
        finally:
            self.computing = not outside

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if _on_host(args, kwargs):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if func in _ANSWERS:  # a value that only data could tell
            return _ANSWERS[func]
        out = func(*args, **kwargs)
        self.operations += 1
        for tensor in tensors_in(out):
            self._track(tensor, func)
        if launches(func):
            self._count(func, args, kwargs, out)
        workspace = transient(func, args)
        if workspace:
            self.allocator.give_back(self.allocator.take(workspace))
        if self.live + workspace > self.peak:
            self.peak, self.peak_workspace = self.live + workspace, workspace
            self.peak_operation, self.peak_where = _name(func), self._label()
            self.peak_parts = dict(self.parts)
        return out

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Add up what the operation computes, and what it reads and writes."""
        moved = moved_by(func, args, kwargs, out)
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            self.moved += moved
        else:
            self.work[flops_of(func, args, kwargs, out), moved] += 1

    def _track(self, tensor: Tensor, func: Any) -> None:
        if not isinstance(tensor, FakeTensor):
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        known = self._alive.get(key)
        if known is not None and known.storage() is storage:  # a view, or changed in place
            return
        size = rounded(storage.nbytes())
        label = self._label()
        death = weakref.ref(storage, partial(self._died, key))
        self._alive[key] = _Alive(death, size, self.allocator.take(size), label)
        self.live += size
        self.parts[label] += size
        if size > self._tenth:
            self._note(tensor, size, func, label)

    def _note(self, tensor: Tensor, size: int, func: Any, label: str) -> None:
        """Keep the ten largest allocations."""
        shape = tuple(tensor.shape)
        dtype = str(tensor.dtype).removeprefix("torch.")
        self.largest[_name(func), shape] = Allocation(size, shape, dtype, _name(func), label)
        if len(self.largest) > 10:
            smallest = min(self.largest, key=lambda key: self.largest[key].size)
            del self.largest[smallest]
            self._tenth = min(item.size for item in self.largest.values())

    def _died(self, key: int, _storage: weakref.ref[Any]) -> None:
        gone = self._alive.pop(key)
        self.live -= gone.size
        self.parts[gone.label] -= gone.size
        self.allocator.give_back(gone.block)

    def _label(self) -> str:
        label = purpose()
        if label is not None:
            return label
        module = self.modules[-1] if self.modules else None
        if torch._C._current_graph_task_id() != -1:
            return f"{BACKWARD}: {module} again" if module else BACKWARD
        return module if module is not None else OUTSIDE


@contextlib.contextmanager
def naming(tracker: MemoryTracker, modules: Iterable[nn.Module]) -> Iterator[None]:
    """Tell the tracker which part of ``modules`` runs, and which memory holds gradients."""
    names = {id(part): name for module in modules for name, part in module.named_modules()}

    def enter(module: nn.Module, _args: Any) -> None:
        tracker.modules.append(names.get(id(module), type(module).__name__))

    def leave(_module: nn.Module, _args: Any, _out: Any) -> None:
        tracker.modules.pop()

    def accumulated(parameter: Tensor) -> None:
        if parameter.grad is not None:
            tracker.relabel(parameter.grad, GRADIENTS)

    hooks = [
        nn.modules.module.register_module_forward_pre_hook(enter),
        nn.modules.module.register_module_forward_hook(leave, always_call=True),
        *(
            parameter.register_post_accumulate_grad_hook(accumulated)
            for module in modules
            for parameter in module.parameters()
            if parameter.requires_grad
        ),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


_ANSWERS = {
    aten.equal.default: False,  # torch.istft asks whether its window has a zero
    aten._local_scalar_dense.default: 1.0,
    aten.is_nonzero.default: True,
}


_WITH_DTYPE = {aten.bmm.dtype, aten.mm.dtype}


def flops_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """Floating-point operations of a matrix product, convolution or attention."""
    # `bmm` with an out_dtype: its formula takes the two factors only.
    factors = args[:2] if func in _WITH_DTYPE else args
    return int(flop_registry[func.overloadpacket](*factors, **kwargs, out_val=out))


def _on_host(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether all tensors are real ones, and there are some."""
    tensors = [tensor for value in (*args, *kwargs.values()) for tensor in tensors_in(value)]
    return bool(tensors) and not any(isinstance(tensor, FakeTensor) for tensor in tensors)


def _name(func: Any) -> str:
    return str(func.overloadpacket.__name__)
