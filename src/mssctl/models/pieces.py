"""How much of an input a CPU computes at once.

What layers make of their input in between is several times its size. A few sequences at a time, it
stays in the cache; of a whole segment, each step would fetch it from memory and put it back.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

POSITIONS = 1 << 11  # 3 MiB of 384 features, 12 MiB in a feed-forward


def at_once(total: int, positions: int, device: torch.device, limit: int = POSITIONS) -> int:
    """How many of ``total`` sequences, bands or frames of ``positions`` each to compute at once.

    All of them on other devices, in graphs to export, and where gradients are wanted, which keep
    everything anyway.
    """
    if device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_exporting():
        return total
    return min(total, max(1, limit // positions))


def joined(parts: Iterable[Tensor], total: int, dim: int) -> Tensor:
    """``torch.cat``, but each part may be freed before the next one is made.

    Where gradients are wanted, and in graphs to export, it is `torch.cat`.

    Args:
        parts: of one dtype, device and layout, made while they are iterated over.
        total: length of all parts along ``dim``.
        dim: where they are joined.
    """
    if torch.is_grad_enabled() or torch.compiler.is_exporting():
        every = list(parts)
        return every[0] if len(every) == 1 else torch.cat(every, dim)
    whole, start = None, 0
    for part in parts:
        if part.shape[dim] == total:
            return part
        if whole is None:
            whole = _like(part, total, dim)
        whole.narrow(dim, start, part.shape[dim]).copy_(part)
        start += part.shape[dim]
    assert whole is not None, "no parts"
    return whole


def _like(part: Tensor, total: int, dim: int) -> Tensor:
    """Room for ``total`` along ``dim``, with the axes in the same order in memory."""
    order = sorted(range(part.dim()), key=part.stride, reverse=True)
    shape = [total if axis == dim else part.shape[axis] for axis in order]
    return part.new_empty(shape).permute([order.index(axis) for axis in range(part.dim())])
