"""Lets code believe that fake CPU tensors are on a CUDA device, and treat them as it would there.

Fake *CUDA* tensors cannot be sent backward without a driver, and do not exist in a CPU build of
PyTorch. So the tensors are fake CPU ones and the differences are made up for here: what they say
about their device, and the operations that save something else for the
backward pass on a CPU than on a GPU: attention, dropout, RMS norm.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.nn import functional as F  # noqa: N812
from torch.nn.attention import SDPBackend
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from mssctl.hardware.attention import attention_kernel, attention_kernels_allowed
from mssctl.planning.predict.modes import QuickFakeMode, cuda_autocast
from mssctl.planning.predict.tracker import MemoryTracker

aten = torch.ops.aten
CUDA = torch.device("cuda", 0)


class PretendCuda(TorchFunctionMode):
    """Presents fake tensors as CUDA tensors and real ones as the host's.

    Attributes:
        default: where a tensor goes that is made without a device: ``cuda`` or ``cpu``.
        capability: compute capability of the card, which decides the attention kernel.
        attention: pins one attention kernel; None: what the flags in force and the card say.
        kernels: names of the attention kernels that have run.
    """

    def __init__(self, capability: tuple[int, int], attention: str | None) -> None:
        super().__init__()
        self.default = "cuda"
        self.capability = capability
        self.attention = attention
        self.kernels: set[str] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one call of torch's interface."""
        kwargs = kwargs or {}
        special = _SPECIAL.get(func)
        if special is not None:
            return special(self, *args, **kwargs)
        if func in _MAKERS:
            return self._make(func, args, kwargs)
        if kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": "cpu"}
        return func(*args, **kwargs)

    def _make(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        device = kwargs.get("device")
        if device is None:
            # Values given in Python stay on the host until someone moves them.
            device = "cpu" if func in _FROM_VALUES else self.default
        if torch.device(device).type == "cuda":
            return func(*args, **{**kwargs, "device": "cpu"})
        with unset_fake_temporarily():
            return func(*args, **kwargs)

    def move(self, tensor: Tensor, *rest: Any, **kwargs: Any) -> Tensor:
        """``Tensor.to``: between host and device, or to another dtype."""
        values = list(rest)
        target = kwargs.pop("device", None)
        if values and isinstance(values[0], Tensor):
            target = "cuda" if _is_cuda(self, values[0]) else "cpu"
            values[0] = values[0].dtype
        elif values and (values[0] is None or isinstance(values[0], (str, torch.device))):
            target = values.pop(0)
        where = torch.device(target).type if target is not None else None
        fake = isinstance(tensor, FakeTensor)
        if fake and where == "cpu":
            with unset_fake_temporarily():  # a real tensor that needs no memory
                return torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
        if not fake and where == "cuda":
            dtype = next((x for x in values if isinstance(x, torch.dtype)), kwargs.get("dtype"))
            return torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device="cpu")
        if not values and not kwargs.get("dtype") and not kwargs.get("copy"):
            return tensor
        with contextlib.nullcontext() if fake else unset_fake_temporarily():
            return tensor.to(*values, **kwargs)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **_: Any,
    ) -> Tensor:
        """Scaled dot-product attention by the kernel that would run on the card."""
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            query, key, value = (
                x.to(dtype) if x.dtype == torch.float32 else x for x in (query, key, value)
            )
        kernel = self._kernel(query)
        self.kernels.add(kernel)
        head = query.shape[-1]
        scale = head**-0.5 if scale is None else scale
        needed = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
        with torch.autocast("cpu", enabled=False):
            if kernel == "flash":
                padding = (0, -head % 8)
                if padding[1]:
                    query, key, value = (F.pad(x, padding) for x in (query, key, value))
                out = aten._scaled_dot_product_flash_attention(
                    query, key, value, dropout_p, is_causal, False, scale=scale
                )[0]
                return out[..., :head]  # type: ignore[no-any-return]
            if kernel == "math":
                return _math(query, key, value, attn_mask, dropout_p, scale)
            fused = (
                aten._scaled_dot_product_cudnn_attention
                if kernel == "cudnn"
                else aten._scaled_dot_product_efficient_attention
            )
            return fused(  # type: ignore[no-any-return]
                query, key, value, attn_mask, needed, dropout_p, is_causal, scale=scale
            )[0]

    def _kernel(self, query: Tensor) -> str:
        allowed = attention_kernels_allowed()
        if self.attention is not None:
            allowed = [_KERNELS[self.attention]]
        kernel = attention_kernel(query.dtype, query.shape[-1], self.capability, allowed)
        if kernel is None:
            raise RuntimeError("No available kernel. Aborting execution.")  # PyTorch's words
        return next(name for name, backend in _KERNELS.items() if backend == kernel)


def _math(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scale: float
) -> Tensor:
    """The un-fused kernel, step by step: it computes in float32 and keeps every score."""
    dtype = query.dtype
    query, key, value = (x.float() for x in (query, key, value))
    scores = (query * scale**0.5) @ (key * scale**0.5).transpose(-2, -1)
    if mask is not None:
        scores = scores + mask
    weights = scores.softmax(-1)
    del scores
    weights = torch.native_dropout(weights, dropout, True)[0] if dropout else weights
    out: Tensor = weights @ value
    return out.to(dtype)


_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
KERNELS = tuple(_KERNELS)


def _is_cuda(_mode: PretendCuda, tensor: Tensor) -> bool:
    """Whether the code should believe ``tensor`` to be on the GPU."""
    return isinstance(tensor, FakeTensor)


def _get_device(mode: PretendCuda, tensor: Tensor) -> int:
    """The index; where CUDA is initialized, checkpointing keeps the generator of that GPU."""
    return CUDA.index if _is_cuda(mode, tensor) else -1


def _data_ptr(_mode: PretendCuda, tensor: Tensor) -> int:
    """The address; none for fake tensors, so that LSTMs do not join weights in cuDNN's order."""
    return 0 if isinstance(tensor, FakeTensor) else tensor.data_ptr()


def _deepcopy(_mode: PretendCuda, tensor: Tensor, memo: dict[int, Any]) -> Any:
    """PyTorch's own looks at the address of the data, which fake tensors do not have."""
    if not isinstance(tensor, FakeTensor):
        with unset_fake_temporarily():
            return tensor.__deepcopy__(memo)
    if id(tensor) not in memo:
        copied = tensor.detach().clone()
        if isinstance(tensor, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, tensor.requires_grad)
        memo[id(tensor)] = copied
    return memo[id(tensor)]


def _dropout(
    _mode: PretendCuda,
    input: Tensor,  # noqa: A002 (its name in torch)
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    train: bool | None = None,
) -> Tensor:
    """CUDA's dropout saves one byte per value; the CPU's saves the noise itself."""
    if not (training if train is None else train) or not 0.0 < p < 1.0:
        return F.dropout(input, p, training=False, inplace=inplace)
    out: Tensor = torch.native_dropout(input, p, True)[0]
    return out


def _rms_norm(
    _mode: PretendCuda,
    input: Tensor,  # noqa: A002
    normalized_shape: list[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """CUDA's fused RMS norm saves its input and one number per row."""
    out: Tensor = aten._fused_rms_norm(input, list(normalized_shape), weight, eps)[0]
    return out


_SPECIAL: dict[Any, Callable[..., Any]] = {
    torch.Tensor.is_cuda.__get__: _is_cuda,  # type: ignore[attr-defined]
    torch.Tensor.is_cpu.__get__: lambda mode, x: not _is_cuda(mode, x),  # type: ignore[attr-defined]
    torch.Tensor.get_device: _get_device,
    torch.get_device: _get_device,
    torch.Tensor.to: PretendCuda.move,
    torch.Tensor.cuda: lambda mode, tensor, *_, **__: mode.move(tensor, "cuda"),
    torch.Tensor.cpu: lambda mode, tensor, *_, **__: mode.move(tensor, "cpu"),
    torch.Tensor.data_ptr: _data_ptr,
    torch.Tensor.pin_memory: lambda _mode, tensor, *_: tensor,
    torch.Tensor.__deepcopy__: _deepcopy,
    F.scaled_dot_product_attention: PretendCuda.attend,
    F.dropout: _dropout,
    torch.dropout: _dropout,
    F.rms_norm: _rms_norm,
    torch.rms_norm: _rms_norm,
}
_FROM_VALUES = {torch.tensor, torch.as_tensor, torch.asarray, torch.scalar_tensor}
_MAKERS = frozenset(_device_constructors())


@contextlib.contextmanager
def _also_backward(mode: PretendCuda) -> Iterator[None]:
    """Keep the mode on in backward passes, which run code of their own.

    Handling a call suspends the mode, and ``backward`` is such a call.
    """
    engine = torch.autograd._engine_run_backward  # type: ignore[attr-defined]

    def run(*args: Any, **kwargs: Any) -> Any:
        with mode:
            return engine(*args, **kwargs)

    with mock.patch.object(torch.autograd, "_engine_run_backward", run):
        yield


@contextlib.contextmanager
def presented(tracker: MemoryTracker) -> Iterator[None]:
    """Outside the operations themselves, fake tensors say that they are on the GPU.

    `FakeTensor.device` is a property of its own, which no mode sees; and the optimizers sort
    tensors by a device that is found out in C++.
    """
    device, group = FakeTensor.device, torch._C._group_tensors_by_device_and_dtype

    def pretended(tensor: FakeTensor) -> torch.device:
        return device.__get__(tensor) if tracker.computing else CUDA

    def grouped(*args: Any) -> dict[Any, Any]:
        return {(CUDA, dtype): found for (_, dtype), found in group(*args).items()}

    with (
        mock.patch.object(FakeTensor, "device", property(pretended)),
        mock.patch.object(torch._C, "_group_tensors_by_device_and_dtype", grouped),
    ):
        yield


@contextlib.contextmanager
def fake_cuda(
    capability: tuple[int, int] = (9, 0), attention: str | None = None
) -> Iterator[PretendCuda]:
    """In the body new tensors are fake, and behave as if they were on a GPU.

    Changes the process while it lasts (autocast), so one thread at a time.
    """
    with (
        cuda_autocast(),
        QuickFakeMode(allow_non_fake_inputs=True),
        PretendCuda(capability, attention) as mode,
        _also_backward(mode),
    ):
        yield mode
