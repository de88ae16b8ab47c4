"""torch.compile, region by region: the repeated parts of a model, for the shapes of training."""

import contextlib
import sys
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from mssctl.errors import ExitCode, MssctlError

BACKEND = "inductor"

# Graphs of one piece of code: two a batch size, and running out of memory may try several.
GRAPHS = 64


def compile_modules(modules: Iterable[nn.Module], device: torch.device) -> None:
    """Compile each module in place; the work is done at its first call, once per shape.

    Parts with the same code share what is compiled, so twelve paths cost no more than two. Names
    and values of the weights stay as they are, and copies of the model are not compiled. What
    cannot be compiled whole is an error: nothing runs uncompiled instead.

    Args:
        modules: parts of a model.
        device: they are on.

    Raises:
        MssctlError: the compiler does not work here, found with a small function (exit 3).
    """
    try:
        torch.compile(_trial, backend=BACKEND, dynamic=False)(torch.ones(8, device=device))
    except Exception as error:  # a compiler may raise anything
        raise MssctlError(
            f"training.compile: PyTorch's compiler does not work here: {_reason(error)}",
            hint="`mssctl doctor` says what is missing; training.compile=false does without",
            exit_code=ExitCode.ENVIRONMENT,
        ) from error
    keep_graphs()
    for module in modules:
        module.compile(backend=BACKEND, dynamic=False, fullgraph=True)


def keep_graphs() -> None:
    """Let one piece of code be compiled `GRAPHS` times; beyond that it runs as it is written."""
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, GRAPHS)


def _trial(x: Tensor) -> Tensor:
    return (x.sin() * 2 + 1).sum()


@contextlib.contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """Run the compiled modules of ``model`` as they are written.

    Songs come in shapes that are not worth compiling. Functions that the model compiles itself,
    as BSMamba2 does its scan, stay compiled.
    """
    calls = [(part, part._compiled_call_impl) for part in model.modules()]
    for part, _ in calls:
        part._compiled_call_impl = None
    try:
        yield
    finally:
        for part, call in calls:
            part._compiled_call_impl = call


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What goes wrong while something is compiled, as it would come out without a compiler.

    Raises:
        torch.OutOfMemoryError: memory ran out.
        MssctlError: anything else that the compiler met (exit 3).
    """
    try:
        yield
    except Exception as error:
        if "torch._dynamo" not in sys.modules:
            raise
        exc = torch._dynamo.exc
        if not isinstance(error, exc.TorchDynamoException | exc.FailOnRecompileLimitHit):
            raise
        causes = _causes(error)
        known = next((one for one in causes if isinstance(one, MssctlError)), None)
        if known:
            raise known from error
        if any(isinstance(one, torch.OutOfMemoryError) for one in causes):
            raise torch.OutOfMemoryError("while a part of the model was compiled") from error
        raise MssctlError(
            f"training.compile: a part of the model cannot be compiled: {_reason(error)}",
            hint="training.compile=false does without",
            exit_code=ExitCode.ENVIRONMENT,
        ) from error


def _causes(error: BaseException) -> list[BaseException]:
    """An error and what led to it, the outermost first."""
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found:
        found.append(step)
        step = getattr(step, "inner_exception", None) or step.__cause__ or step.__context__
    return found


def _reason(error: BaseException) -> str:
    """The first line of what an error is about."""
    inner = _causes(error)[-1]
    lines = str(inner).strip().splitlines() or [type(inner).__name__]
    return lines[0]
