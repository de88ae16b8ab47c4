"""Modes of the process around a step on fake tensors: CUDA's autocast, and what makes it quick."""

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

aten = torch.ops.aten

# What CUDA's autocast computes in float32 (docs "CUDA Ops that can autocast to float32") and the
# CPU's does not.
_FLOAT32 = [
    "softmax.int", "log_softmax.int", "layer_norm", "group_norm", "exp", "expm1", "log", "log10",
    "log1p", "log2", "rsqrt", "reciprocal", "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar",
    "sum", "sum.dim_IntList", "cumsum", "prod", "prod.dim_int", "norm.ScalarOpt_dim",
    "linalg_vector_norm", "l1_loss", "mse_loss", "smooth_l1_loss", "softplus",
    "cosine_similarity",
]  # fmt: skip


@contextlib.contextmanager
def cuda_autocast() -> Iterator[None]:
    """``torch.autocast("cuda")`` acts on CPU tensors in the body, with CUDA's list of casts."""
    autocast = torch.amp.autocast_mode.autocast
    init, enabled, dtype = autocast.__init__, torch.is_autocast_enabled, torch.get_autocast_dtype

    def on_cpu(device: str) -> str:
        return "cpu" if device == "cuda" else device

    def pretending(self: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
        init(self, on_cpu(device_type), *args, **kwargs)

    with (
        torch.library._scoped_library("aten", "IMPL") as library,
        mock.patch.object(autocast, "__init__", pretending),
        mock.patch.multiple(
            torch,
            is_autocast_enabled=lambda device="cuda": enabled(on_cpu(device)),
            get_autocast_dtype=lambda device: dtype(on_cpu(device)),
        ),
    ):
        for name in _FLOAT32:
            if not torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", "AutocastCPU"):
                packet, _, overload = name.partition(".")
                operation = getattr(getattr(aten, packet), overload or "default")
                library.impl(name, _in_float32(operation), "AutocastCPU")
        yield


def _in_float32(operation: Any) -> Callable[..., Any]:
    def widened(value: Any) -> Any:
        narrow = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
        return value.float() if narrow else value

    def call(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
            return operation(
                *map(widened, args), **{name: widened(value) for name, value in kwargs.items()}
            )

    return call


class QuickFakeMode(FakeTensorMode):
    """`FakeTensorMode` with a shorter look at each tensor before the cache of results is asked.

    The original describes a tensor by seventeen properties, most of which never differ here (no
    sparse, quantized or symbolic tensors); that look took a third of a prediction's time.
    """

    def _prep_args_for_hash(
        self, result: list[object], args: Any, state: Any, id_hashed_objects: list[object]
    ) -> None:
        if not isinstance(args, (list, tuple)):
            super()._prep_args_for_hash(result, args, state, id_hashed_objects)
            return
        result.append(len(args))
        for arg in args:
            kind = type(arg)
            if kind is FakeTensor and arg.constant is None and arg.layout is torch.strided:
                result += (
                    arg.dtype,
                    tuple(arg.shape),
                    arg.stride(),
                    arg.storage_offset(),
                    arg.untyped_storage().nbytes(),
                    arg.requires_grad,
                    arg.is_conj(),
                    arg.is_neg(),
                )
            elif kind in _PLAIN:
                result += (kind, arg)
            elif kind is list or kind is tuple:
                self._prep_args_for_hash(result, arg, state, id_hashed_objects)
            else:
                super()._prep_args_for_hash(result, (arg,), state, id_hashed_objects)


_PLAIN = frozenset({int, float, bool, type(None), str, torch.dtype, torch.device, torch.layout})


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """No garbage collection in the body.

    When memory dies must not depend on chance; and while PyTorch's compiler is imported, which
    fake tensors need, looking for garbage takes a third of the time and finds none.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
