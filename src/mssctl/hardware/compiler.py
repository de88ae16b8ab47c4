"""torch.compile, region by region: the repeated parts of a model, for the shapes of training."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mssctl.errors import ExitCode, MssctlError

BACKEND = "inductor"


def compile_modules(modules: Iterable[nn.Module], device: torch.device) -> None:
    """Compile each module in place; the work is done at its first call, once per shape.

    Parts with the same code share what is compiled, so twelve paths cost no more than two. Names
    and values of the weights stay as they are, and copies of the model are not compiled.

    Args:
        modules: parts of a model.
        device: they are on.

    Raises:
        MssctlError: the compiler does not work here, found with a small function (exit 3).
    """
    try:
        torch.compile(_trial, backend=BACKEND, dynamic=False)(torch.ones(8, device=device))
    except Exception as error:  # a compiler may raise anything
        inner = getattr(error, "inner_exception", error)
        reason = str(inner).strip().splitlines() or [type(inner).__name__]
        raise MssctlError(
            f"training.compile: PyTorch's compiler does not work here: {reason[0]}",
            hint="`mssctl doctor` says what is missing; training.compile=false does without",
            exit_code=ExitCode.ENVIRONMENT,
        ) from error
    for module in modules:
        module.compile(backend=BACKEND, dynamic=False)


def _trial(x: Tensor) -> Tensor:
    return (x.sin() * 2 + 1).sum()


def uncompiled() -> contextlib.AbstractContextManager[object]:
    """Run compiled modules as they are written: for songs, whose shapes are not worth compiling."""
    if "torch._dynamo" not in sys.modules:
        return contextlib.nullcontext()
    stance: contextlib.AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance
