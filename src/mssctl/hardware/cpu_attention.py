"""Attention with dropout on a CPU, a few score matrices at a time.

PyTorch's fused CPU kernel has no dropout: with it, all scores of all heads are written out, several
times over. Here a piece of them at a time stays in the cache, and backward computes it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mssctl.hardware.dropout import keep_bits, kept_levels, kept_scale

# Scores at once: 4 MiB in float32.
PIECE = 1 << 20


def attention_with_dropout(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """``dropout(softmax(q kᵀ / √d)) v`` in float32, for tensors on the CPU.

    Args:
        q: queries, ``(N, H, L, d)``.
        k: keys, likewise.
        v: values, likewise.
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
