"""The ways to run the state space scan, and which one is in force.

``mamba_ssm`` has kernels for NVIDIA GPUs; there are none of our own. A way that cannot be had is
an error: nothing switches to another one by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from mssctl.errors import ExitCode, MssctlError
from mssctl.hardware.compiler import keep_graphs
from mssctl.models.bsmamba2.config import ScanBackend
from mssctl.models.bsmamba2.ssd import ssd_output

Name = Literal["torch", "compiled", "mamba_ssm"]

# x, dt, A, B, C, D, chunk size -> y, as in `ssd_output`
Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class ScanChoice:
    """The backend in force and, in words, why it is this one."""

    name: Name
    reason: str


@cache
def has_mamba_ssm() -> bool:
    """Whether the package ``mamba_ssm`` is installed; looked up once."""
    return find_spec("mamba_ssm") is not None


def choose_scan(backend: ScanBackend, device: torch.device) -> ScanChoice:
    """Resolve ``auto``, and check that what is asked for can be had.

    Raises:
        MssctlError: ``mamba_ssm`` is not installed, or the device is not a CUDA GPU (exit 3).
    """
    if backend == "auto":
        if device.type == "cuda":
            return ScanChoice("compiled", "the default on CUDA")
        return ScanChoice("torch", f"the default on {device.type}")
    if backend == "mamba_ssm" and not has_mamba_ssm():
        raise MssctlError(
            "scan_backend mamba_ssm: the package mamba_ssm is not installed",
            hint="install it, or --set model.scan_backend=auto",
            exit_code=ExitCode.ENVIRONMENT,
        )
    if backend == "mamba_ssm" and device.type != "cuda":
        raise MssctlError(
            f"scan_backend mamba_ssm: its kernels do not run on {device.type}",
            hint="--set model.scan_backend=auto",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return ScanChoice(backend, "asked for")


def scan(name: Name) -> Scan:
    """The function behind a name."""
    return _SCANS[name]


def _compiled_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, chunk_size: int
) -> Tensor:
    # A fake tensor has nothing to compute: the trace of the plain form is what it is for.
    run = ssd_output if isinstance(x, FakeTensor) else _compiled()
    return run(x, dt, A, B, C, D, chunk_size)


@cache
def _compiled() -> Scan:
    # The axes (time, bands) and the slices have a handful of shapes: dynamic after the second. Each
    # counts anew with and without gradients, and in another dtype.
    keep_graphs()
    return torch.compile(ssd_output)


def _mamba_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, chunk_size: int
) -> Tensor:
    y: Tensor = _mamba_kernel()(
        x, dt, A, B[:, :, None].contiguous(), C[:, :, None].contiguous(), chunk_size, D=D
    )
    return y


@cache
def _mamba_kernel() -> Any:
    return import_module("mamba_ssm.ops.triton.ssd_combined").mamba_chunk_scan_combined


_SCANS: dict[Name, Scan] = {
    "torch": ssd_output,
    "compiled": _compiled_scan,
    "mamba_ssm": _mamba_scan,
}
