"""Memory that a CUDA kernel takes and gives back before it returns, which no tensor shows.

From the sources of PyTorch 2.11: accumulators of the fused attentions' backward passes, and the
copy that cuFFT's complex-to-real transform makes of its input. Workspaces of cuDNN's
convolutions depend on the algorithm chosen on the card and count as 0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mssctl.hardware.machine import MIB
from mssctl.planning.predict.allocator import rounded

aten = torch.ops.aten

# The CUDA context and the loaded kernels lie outside the allocator. Assumed, not measured.
CONTEXT = 600 * MIB


def cublas(capability: tuple[int, int]) -> int:
    """Bytes that cuBLAS holds: one workspace for the main and one for the backward thread.

    32 MiB each from compute capability 9.0 on, else 8.125 MiB: PyTorch's defaults.
    """
    return 2 * (32 * MIB if capability >= (9, 0) else 8 * MIB + MIB // 8)


def transient(func: Any, args: Sequence[Any]) -> int:
    """Bytes that the kernel of one operation takes for itself while it runs."""
    need = _NEEDS.get(func)
    return need(args) if need else 0


def _flash_backward(args: Sequence[Any]) -> int:
    """A float32 accumulator for the gradient of the queries, and row sums, both padded."""
    sequences, heads, length, head = args[1].shape
    length = _up(length, 128)
    head = _up(head, 32) if head <= 128 else _up(head, 64)
    head = 64 if 32 < head <= 64 else head
    return rounded(sequences * heads * length * head * 4) + rounded(sequences * heads * length * 4)


def _efficient_backward(args: Sequence[Any]) -> int:
    """A float32 accumulator where the inputs are narrower, and row sums."""
    query = args[1]
    sequences, heads, length, head = query.shape
    accumulator = 0 if query.dtype == torch.float32 else sequences * heads * length * head * 4
    return rounded(accumulator) + rounded(sequences * heads * _up(length, 32) * 4)


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


_NEEDS: dict[Any, Callable[[Sequence[Any]], int]] = {
    aten._scaled_dot_product_flash_attention_backward.default: _flash_backward,
    aten._scaled_dot_product_efficient_attention_backward.default: _efficient_backward,
    aten._fft_c2r.default: lambda args: rounded(args[0].nbytes),
}
