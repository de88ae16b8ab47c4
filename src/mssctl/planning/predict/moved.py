"""What an operation reads and writes: the traffic of a memory-bound kernel.

What an operation moves is what its tensors hold, each read or written once: a kernel with several
passes, or one whose inputs stay in the cache, differs. Views and new memory move nothing; a value
that is repeated along an axis is read once.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


def launches(func: Any) -> bool:
    """Whether an operation runs a kernel: not where it makes a view or memory without values."""
    return not func.is_view and func.overloadpacket not in _NO_KERNEL


def moved_by(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """Bytes that one operation reads and writes."""
    read = [*args, *(value for name, value in kwargs.items() if name != "out")]
    if func in _OVERWRITES:  # what was there is not read
        read = read[1:]
    return sum(_held(tensor) for value in (read, out) for tensor in tensors_in(value))


def _held(tensor: Tensor) -> int:
    """Bytes of the different values of a tensor."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride or not size else 1
    return count * tensor.element_size()


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in an argument or result of an operation."""
    if isinstance(value, (tuple, list)):
        return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    return [value] if isinstance(value, Tensor) else []


_OVERWRITES = {aten.copy_.default, aten.fill_.Scalar, aten.zero_.default, aten.random_.default}
_NO_KERNEL = {
    aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided,
    aten.detach, aten.alias, aten._unsafe_view, aten._reshape_alias, aten.lift_fresh,
    aten.is_same_size, aten.transpose_, aten.t_, aten.squeeze_, aten.unsqueeze_, aten.as_strided_,
    aten.detach_,
}  # fmt: skip
