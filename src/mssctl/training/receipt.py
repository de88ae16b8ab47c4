"""The receipt: what is really in force, seen in the running model and not read from settings."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mssctl.data.ahead import batches_ahead
from mssctl.hardware.compiler import uncompiled
from mssctl.hardware.device import autocast
from mssctl.hardware.machine import cores
from mssctl.models.base import Separator
from mssctl.models.run_config import RunConfig
from mssctl.training.step import TrainState

_PREFIX = "_scaled_dot_product_"
_KERNELS = {  # name of PyTorch's operator -> kernel
    f"{_PREFIX}flash_attention": "flash",
    f"{_PREFIX}flash_attention_for_cpu": "flash (CPU)",
    f"{_PREFIX}cudnn_attention": "cuDNN",
    f"{_PREFIX}efficient_attention": "memory-efficient",
    f"{_PREFIX}fused_attention_overrideable": "overrideable",
    f"{_PREFIX}attention_math_for_mps": "math (MPS)",
    "_safe_softmax": "math",  # of several operators; this one is only in it
    "attention_with_dropout": "in pieces with dropout (CPU, float32 inside)",
}


def make_receipt(
    state: TrainState,
    config: RunConfig,
    device: torch.device,
    predicted_gib: float | None,
    processes: int = 1,
    initial: str | None = None,
) -> dict[str, Any]:
    """Everything that is in force for a run, as JSON values.

    Args:
        state: model and optimizer of the run.
        config: of the run.
        device: it computes on.
        predicted_gib: peak that the planner expects; None where it predicts none (CPU).
        processes: that train together, each with such a model and ``config``.
        initial: where the first weights came from, in words; None for fresh ones.
    """
    training, model = config.training, state.model
    dtypes, attention = seen_inside(model, training.amp_dtype, device)
    cuda = device.type == "cuda"
    micro, count = training.batch_size, training.gradient_accumulation_steps
    return {
        "amp_dtype": training.amp_dtype,
        "dtypes_inside": dtypes,
        "attention": attention,
        "backends": model.backends(),
        "compiled_modules": sum(
            type(part).__name__ == "OptimizedModule" or part._compiled_call_impl is not None
            for part in model.modules()
        ),
        "tf32": torch.backends.cuda.matmul.allow_tf32 if cuda else None,
        "cudnn_benchmark": torch.backends.cudnn.benchmark if cuda else None,
        "math_attention": torch.backends.cuda.math_sdp_enabled() if cuda else None,
        "fused_optimizer": bool(state.optimizer.defaults["fused"]),
        "gradient_checkpointing": model.checkpointing,
        "initial_weights": initial,
        "frozen": list(training.freeze),
        "parameters": sum(one.numel() for one in model.parameters()),
        "trained_parameters": sum(one.numel() for one in model.parameters() if one.requires_grad),
        "moving_average": state.average.momentum if state.average else None,
        "workers": training.num_workers,
        "batches_ahead": batches_ahead(training, config.audio),
        "cores": cores(),
        "batch_size": micro,
        "gradient_accumulation_steps": count,
        "processes": processes,
        "effective_batch": micro * count * processes,
        "predicted_peak_gib": predicted_gib,
    }


def receipt_text(receipt: dict[str, Any]) -> str:
    """The receipt as a block of lines for people."""
    kinds: Counter[str] = Counter()
    for counts in receipt["dtypes_inside"].values():
        kinds.update(counts)
    layers = ", ".join(f"{count} layers {dtype}" for dtype, count in kinds.most_common())
    attention = ", ".join(f"{axis} {kernel}" for axis, kernel in receipt["attention"].items())
    compiled = receipt["compiled_modules"]
    peak = receipt["predicted_peak_gib"]
    micro, count = receipt["batch_size"], receipt["gradient_accumulation_steps"]
    parts = f"{micro} x {count} accumulated"
    if receipt["processes"] > 1:
        parts += f" x {receipt['processes']} processes"
    ahead = f", each {receipt['batches_ahead']} batches ahead" if receipt["workers"] else ""
    rows = {
        "dtype inside": layers,
        "attention": attention or "none in this model",
        **receipt["backends"],
        "compile": f"{compiled} modules" if compiled else "off",
        "initial weights": receipt["initial_weights"] or "fresh",
        "trained": _trained(receipt),
        "TF32": _on(receipt["tf32"]),
        "cuDNN benchmark": _on(receipt["cudnn_benchmark"]),
        "fused optimizer": _on(receipt["fused_optimizer"]),
        "checkpointing": receipt["gradient_checkpointing"],
        "workers": f"{receipt['workers']}, for {receipt['cores']:g} CPU cores{ahead}",
        "effective batch": f"{receipt['effective_batch']} ({parts})",
        "predicted peak": f"{peak:.1f} GiB" if peak is not None else "not predicted on this device",
    }
    return "in force:" + "".join(f"\n  {name:<16} {value}" for name, value in rows.items())


def _trained(receipt: dict[str, Any]) -> str:
    counts = f"{receipt['trained_parameters']:,} of {receipt['parameters']:,} parameters"
    return counts + (f", frozen: {', '.join(receipt['frozen'])}" if receipt["frozen"] else "")


def _on(value: bool | None) -> str:
    return {True: "on", False: "off", None: "no CUDA"}[value]


@torch.no_grad()
def seen_inside(
    model: Separator, amp_dtype: str, device: torch.device
) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """What happens inside the model under autocast, seen by running it once.

    It runs as in training, dropout included, on a short ramp; the random generators of CPU and
    CUDA are restored.

    Returns:
        layer class -> dtype it gives out -> how many layers; and axis -> attention kernel, where
        the axis is the name of the innermost module called ``..._path``.
    """
    seen: dict[str, Counter[str]] = {}
    attention: dict[str, str] = {}

    def watch(layer: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor):
            dtype = str(output.dtype).removeprefix("torch.")
            seen.setdefault(type(layer).__name__, Counter())[dtype] += 1

    training = model.training
    model.train()
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
            for layer in model.modules():
                if not any(layer.children()):
                    stack.callback(layer.register_forward_hook(watch).remove)
            axes = stack.enter_context(_axes(model))
            stack.enter_context(uncompiled(model))
            stack.enter_context(autocast(device, amp_dtype))
            stack.enter_context(_AttentionWatch(axes, attention))
            model(torch.linspace(-1, 1, 8192, device=device).expand(1, model.channels, -1))
    finally:
        model.train(training)
    return {name: dict(counts) for name, counts in sorted(seen.items())}, attention


@contextmanager
def _axes(model: nn.Module) -> Iterator[list[str]]:
    """A list whose last entry is the path that is being computed."""
    stack: list[str] = []
    hooks = []
    for name, module in model.named_modules():
        leaf = name.rpartition(".")[2]
        if leaf.endswith("_path"):
            axis = leaf.removesuffix("_path")
            hooks.append(module.register_forward_pre_hook(lambda *_, axis=axis: stack.append(axis)))
            hooks.append(module.register_forward_hook(lambda *_: (stack.pop(), None)[1]))
    try:
        yield stack
    finally:
        for hook in hooks:
            hook.remove()


class _AttentionWatch(TorchDispatchMode):
    """Notes which attention operator PyTorch dispatches to, and for heads of which dtype."""

    def __init__(self, axes: list[str], found: dict[str, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._axes, self._found = axes, found

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in _KERNELS or name.startswith(_PREFIX):
            axis = self._axes[-1] if self._axes else "model"
            dtype = str(args[0].dtype).removeprefix("torch.")
            self._found[axis] = f"{_KERNELS.get(name, name)}, {dtype}"
        return func(*args, **(kwargs or {}))
