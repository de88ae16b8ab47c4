"""CUDA's autocast for tensors on a CPU: its switch, and its list of what stays in float32."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor

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
