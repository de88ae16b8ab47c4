"""Scaled dot-product attention: the kernel for each device, and dropout on a CPU.

PyTorch's fused CPU kernel has no dropout: with it, all scores of all heads are written out, several
times over. Here a piece of them at a time stays in the cache, and backward computes it again.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name everyone knows)
from torch.nn.attention import SDPBackend, sdpa_kernel

from mssctl.errors import ExitCode, MssctlError
from mssctl.hardware.dropout import drops, keep_bits, kept_levels, kept_scale

# Compute capability from which on GPUs have bfloat16, and float16 in tensor cores.
BF16_CAPABILITY = (8, 0)

# Below this length the score matrix is small, so the un-fused kernel can do no harm.
SHORT_AXIS = 256

_AMX = torch.cpu._is_amx_tile_supported()

# CUDA grids have at most this many blocks along the axis that attention kernels map sequences to.
MAX_SEQUENCES = 65_535

_FUSED = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
]

# What `allow_math_attention` said last. torch.compile reads this and cannot read PyTorch's own.
_ALLOWED = {"math": True}

# Scores at once: 4 MiB in float32.
PIECE = 1 << 20


def allow_math_attention(on: bool) -> None:
    """Let attention over long axes use the un-fused math kernel on CUDA, or not."""
    torch.backends.cuda.enable_math_sdp(on)
    _ALLOWED["math"] = on


def attention(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention ``(N, H, L, d)`` by a fused kernel.

    On CUDA the flash, cuDNN or memory-efficient kernel is required for axes longer than
    `SHORT_AXIS`, unless `configure` has allowed the math kernel.

    Raises:
        MssctlError: no fused kernel takes these tensors (exit 3).
    """
    if q.device.type == "cpu" and drops(dropout):
        return attention_with_dropout(q, k, v, dropout)
    if q.device.type == "cpu" and not _AMX:
        # Without AMX the CPU kernel gains nothing by bfloat16, and is several times slower in
        # training on short axes.
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float()).to(q.dtype)
    if q.device.type != "cuda":
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    if q.shape[0] > MAX_SEQUENCES:
        parts = zip(
            q.split(MAX_SEQUENCES), k.split(MAX_SEQUENCES), v.split(MAX_SEQUENCES), strict=True
        )
        return torch.cat([attention(*part, dropout=dropout) for part in parts])
    try:
        with _kernels(q.shape[-2]):
            return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    except RuntimeError as error:
        if "No available kernel" not in str(error):
            raise
        raise MssctlError(
            f"no fused attention kernel for {q.dtype}, head size {q.shape[-1]} on this GPU",
            hint=_attention_hint(q.dtype, q.shape[-1]),
            exit_code=ExitCode.ENVIRONMENT,
        ) from error


def _attention_hint(dtype: torch.dtype, head: int) -> str:
    """What lets a fused kernel run where none does: see `attention_kernel`."""
    if head % 4:
        return "take a head size (model.attention_dim / model.n_heads) that is a multiple of 8"
    if dtype == torch.float32:
        return "`mssctl doctor -v` says which attention kernels run on this GPU"
    return "compute in float32: --set training.amp_dtype=float32, or --dtype fp32"


def attention_kernels_allowed() -> list[SDPBackend]:
    """The attention kernels that are switched on here and now, the preferred one first."""
    on = {
        SDPBackend.FLASH_ATTENTION: torch.backends.cuda.flash_sdp_enabled(),
        SDPBackend.CUDNN_ATTENTION: torch.backends.cuda.cudnn_sdp_enabled(),
        SDPBackend.EFFICIENT_ATTENTION: torch.backends.cuda.mem_efficient_sdp_enabled(),
        SDPBackend.MATH: torch.backends.cuda.math_sdp_enabled(),
    }
    order = [SDPBackend(number) for number in torch._C._get_sdp_priority_order()]
    return [kernel for kernel in order if on.get(kernel)]


def attention_kernel(
    dtype: torch.dtype, head: int, capability: tuple[int, int], allowed: list[SDPBackend]
) -> SDPBackend | None:
    """The first of the ``allowed`` kernels that takes heads of ``head`` features on that GPU.

    The conditions of PyTorch's ``sdp_utils.cpp`` for self-attention without a mask.

    Args:
        dtype: of queries, keys and values.
        head: features per head.
        capability: compute capability of the GPU.
        allowed: in order of preference.
    """
    half = dtype in (torch.float16, torch.bfloat16)
    modern = capability >= BF16_CAPABILITY
    takes = {
        SDPBackend.FLASH_ATTENTION: half and modern and head <= 256,
        SDPBackend.CUDNN_ATTENTION: half and modern and head <= 128 and head % 8 == 0,
        SDPBackend.EFFICIENT_ATTENTION: head % (8 if half else 4) == 0
        and (modern or dtype != torch.bfloat16),
        SDPBackend.MATH: True,
    }
    return next((kernel for kernel in allowed if takes.get(kernel)), None)


@contextlib.contextmanager
def _kernels(length: int) -> Iterator[None]:
    """Allow the fused kernels, and the math kernel where it is harmless or was asked for."""
    math = length <= SHORT_AXIS or _ALLOWED["math"]
    with sdpa_kernel([*_FUSED, SDPBackend.MATH] if math else _FUSED, set_priority=True):
        yield


def attention_with_dropout(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """``dropout(softmax(q kᵀ / √d)) v`` in float32, for tensors on the CPU.

    Args:
        q: queries, ``(N, H, L, d)``.
        k: keys, of the same shape.
        v: values, of the same shape.
        dropout: the fraction of attention weights to drop, at least 1/65536 and kept to the
            nearest multiple of it.

    Returns:
        ``(N, H, L, d)`` in the dtype of ``q``; its gradient cannot be differentiated again.
    """
    y: Tensor = _attend(q, k, v, torch.randint(2**32, ()), kept_levels(dropout))
    return y


# An operator of its own, so that torch.compile and the receipt see one call and not its pieces.
@torch.library.custom_op("mssctl::attention_with_dropout", mutates_args=())
def _attend(q: Tensor, k: Tensor, v: Tensor, seed: Tensor, kept: int) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        queries, keys, values = _flat(q).mul_(q.shape[-1] ** -0.5), _flat(k), _flat(v)
        y = torch.empty_like(values)
        for heads, rows, weights, keep in _weights(queries, keys, kept, seed):
            y[heads, rows] = torch.bmm(weights.mul_(keep), values[heads])
        return y.mul_(kept_scale(kept)).view(q.shape).to(q.dtype)


@torch.library.custom_op("mssctl::attention_with_dropout_backward", mutates_args=())
def _attend_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, seed: Tensor, kept: int
) -> tuple[Tensor, Tensor, Tensor]:
    scale = q.shape[-1] ** -0.5
    with torch.autocast("cpu", enabled=False):
        queries, keys, values = _flat(q).mul_(scale), _flat(k), _flat(v)
        dy = _flat(grad).mul_(kept_scale(kept))
        dq, dk, dv = (torch.zeros_like(x) for x in (queries, keys, values))
        for heads, rows, weights, keep in _weights(queries, keys, kept, seed):
            dweights = torch.bmm(dy[heads, rows], values[heads].mT).mul_(keep)
            dscores = torch._softmax_backward_data(dweights, weights, -1, weights.dtype)
            dv[heads].baddbmm_(weights.mul_(keep).mT, dy[heads, rows])
            dk[heads].baddbmm_(dscores.mT, queries[heads, rows])
            dq[heads, rows] = torch.bmm(dscores, keys[heads])
        dq.mul_(scale)
        return (
            dq.view(q.shape).to(q.dtype),
            dk.view(k.shape).to(k.dtype),
            dv.view(v.shape).to(v.dtype),
        )


@_attend.register_fake
def _(q: Tensor, *_: object) -> Tensor:
    return q.new_empty(q.shape)


@_attend_backward.register_fake
def _(_: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in inputs[:3])


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    *tensors, ctx.kept = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *_attend_backward(grad, *ctx.saved_tensors, ctx.kept), None, None


_attend.register_autograd(_gradients, setup_context=_remember)


def _flat(x: Tensor) -> Tensor:
    """``(N, H, L, d)`` of any dtype and strides -> a new ``(N·H, L, d)`` in float32."""
    y = torch.empty(x.shape, dtype=torch.float32)
    return y.copy_(x).flatten(0, 1)


def _weights(
    queries: Tensor, keys: Tensor, kept: int, seed: Tensor
) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
    """Attention weights before dropout, piece by piece, and which of them are kept (1 or 0).

    The same ``seed`` gives the same draws. Yields heads, rows of queries, and both tensors
    ``(heads, rows, L)``, which the caller may change.
    """
    generator = torch.Generator().manual_seed(int(seed))
    for heads, rows in _pieces(queries.shape[0], queries.shape[1]):
        scores = torch.bmm(queries[heads, rows], keys[heads].mT)
        weights = torch.softmax(scores, dim=-1, out=scores)
        yield heads, rows, weights, keep_bits(weights.shape, kept, generator).bool().float()


def _pieces(heads: int, length: int) -> Iterator[tuple[slice, slice]]:
    """Ranges of heads and of rows whose scores are at most `PIECE`, or one row's."""
    rows = max(1, min(length, PIECE // max(1, length)))
    together = max(1, PIECE // max(1, length * length))
    for head in range(0, heads, together):
        for row in range(0, length, rows):
            yield slice(head, head + together), slice(row, row + rows)
