"""Build a separator from a configuration."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from mssctl.models.base import Separator
from mssctl.models.registry import architecture
from mssctl.models.run_config import RunConfig


def build(config: RunConfig) -> Separator:
    """A separator with fresh weights, drawn from torch's global random generator."""
    return architecture(config.model).build(config)


def outline(config: RunConfig) -> Separator:
    """A separator of the right names and shapes, without memory for large tensors."""
    with torch.random.fork_rng(devices=[]), _Outline():
        return build(config)


def parameter_count(separator: Separator) -> int:
    """Number of parameters, the frozen rotary frequencies among them."""
    return sum(parameter.numel() for parameter in separator.parameters())


class _Outline(TorchFunctionMode):
    """New tensors of some size are on the meta device.

    ``torch.device("meta")`` puts all of them there, also windows and decay rates that are computed
    from others: that imports PyTorch's compiler, which takes longer than reading a model.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.empty, torch.ones, torch.zeros):
            sizes = kwargs.get("size") or (args if len(args) != 1 else args[0])
            if math.prod(sizes if isinstance(sizes, tuple | list) else [sizes]) > 4096:
                kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)
