"""The only place that decides device, dtype and TF32."""

import contextlib
import ctypes
import os
import platform
import sys
import warnings
from dataclasses import dataclass

import torch

from mssctl.errors import ExitCode, MssctlError
from mssctl.hardware.attention import BF16_CAPABILITY, allow_math_attention
from mssctl.options.separate import Dtype

AMP_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}

# What `separate`, `eval` and `plan` call them.
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}

# Compute capability from which on GPUs have float16 in tensor cores.
FP16_CAPABILITY = (7, 0)


@dataclass(frozen=True)
class DeviceChoice:
    """The device to run on and, in words, why it is this one."""

    device: torch.device
    reason: str


def choose_device(name: str = "auto") -> DeviceChoice:
    """Resolve ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    A CUDA device has an index: some of PyTorch's functions refuse one without.

    Raises:
        MssctlError: the device asked for is not there, or the name means nothing (exit 3).
    """
    if name == "auto":
        if torch.cuda.is_available():
            device = _indexed(torch.device("cuda"))
            return DeviceChoice(device, torch.cuda.get_device_name(device))
        if torch.backends.mps.is_available():
            return DeviceChoice(torch.device("mps"), "no CUDA GPU, Apple GPU found")
        return DeviceChoice(torch.device("cpu"), _why_not_cuda())
    try:
        device = torch.device(name)
    except RuntimeError:
        raise MssctlError(
            f"unknown device '{name}'",
            hint="use auto, cpu, cuda, cuda:N or mps",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None
    if device.type in ("cpu", "mps") and device.index:
        raise MssctlError(
            f"device {name}: there is one {device.type} only",
            hint=f"use {device.type}",
            exit_code=ExitCode.ENVIRONMENT,
        )
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MssctlError(
            f"device {name}: {_why_not_cuda()}",
            hint="--device cpu works everywhere",
            exit_code=ExitCode.ENVIRONMENT,
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MssctlError(
            f"device {name}: this machine has {torch.cuda.device_count()} CUDA GPU(s)",
            hint="count from 0",
            exit_code=ExitCode.ENVIRONMENT,
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MssctlError(f"device {name}: not available here", exit_code=ExitCode.ENVIRONMENT)
    if device.type not in ("cpu", "cuda", "mps"):
        raise MssctlError(
            f"device {name}: not supported",
            hint="use auto, cpu, cuda, cuda:N or mps",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return DeviceChoice(_indexed(device), "asked for")


def _indexed(device: torch.device) -> torch.device:
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device())


@dataclass(frozen=True)
class DtypeChoice:
    """What a model computes in.

    Attributes:
        name: ``bf16``, ``fp16`` or ``fp32``.
        amp_dtype: the same as `autocast` takes it.
        reason: why ``auto`` is not what it is on most GPUs; else empty.
    """

    name: str
    amp_dtype: str
    reason: str = ""


def choose_dtype(asked: Dtype, device: torch.device) -> DtypeChoice:
    """What a model that separates computes in on ``device``.

    Raises:
        MssctlError: bfloat16 is asked for, and the GPU has none (exit 3).
    """
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    if asked != "auto":
        if capability is not None:
            check_separation_dtype(DTYPES[asked], capability)
        return DtypeChoice(asked, DTYPES[asked])
    if capability is None:
        return DtypeChoice("fp32", "float32")
    name = auto_dtype(capability)
    return DtypeChoice(name, DTYPES[name], "" if name == "bf16" else _without_bf16(capability))


def auto_dtype(capability: tuple[int, int]) -> str:
    """The dtype that a model separates in on a GPU, where none is asked for.

    float16 has no fewer digits than bfloat16 and a smaller range: what leaves the model is
    checked for it. GPUs without tensor cores compute it no faster than float32.
    """
    if capability >= BF16_CAPABILITY:
        return "bf16"
    return "fp16" if capability >= FP16_CAPABILITY else "fp32"


def check_separation_dtype(amp_dtype: str, capability: tuple[int, int]) -> None:
    """Refuse to separate in bfloat16 on a GPU that has none.

    Raises:
        MssctlError: (exit 3).
    """
    if amp_dtype == "bfloat16" and capability < BF16_CAPABILITY:
        raise MssctlError(
            f"--dtype bf16: {_without_bf16(capability)}",
            hint="use --dtype fp16 or --dtype fp32",
            exit_code=ExitCode.ENVIRONMENT,
        )


def check_training_dtype(amp_dtype: str, capability: tuple[int, int]) -> None:
    """Refuse to train in bfloat16 on a GPU that has none: attention has no fused kernel there.

    Raises:
        MssctlError: (exit 3).
    """
    if amp_dtype == "bfloat16" and capability < BF16_CAPABILITY:
        raise MssctlError(
            f"training.amp_dtype bfloat16: {_without_bf16(capability)}",
            hint="--set training.amp_dtype=float32",
            exit_code=ExitCode.ENVIRONMENT,
        )


def _without_bf16(capability: tuple[int, int]) -> str:
    needed, here = (".".join(map(str, each)) for each in (BF16_CAPABILITY, capability))
    return f"bfloat16 needs compute capability {needed}, and this GPU has {here}"


def _why_not_cuda() -> str:
    if torch.version.cuda is None:
        return "this PyTorch build has no CUDA"
    return "PyTorch finds no usable NVIDIA GPU or driver"


def configure(
    device: torch.device, *, tf32: bool, cudnn_benchmark: bool, flash_attention: bool = True
) -> None:
    """Put the process-wide switches into force.

    With ``flash_attention`` the un-fused math kernel is off on CUDA: attention over a long axis
    then raises instead of allocating its whole score matrix.
    """
    if device.type == "cpu":
        _keep_freed_memory()
    if device.type != "cuda":
        return
    if not tf32:  # a choice: PyTorch's compiler need not advise against it
        warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
    precision = "high" if tf32 else "highest"
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = cudnn_benchmark
    allow_math_attention(not flash_attention)


def let_segments_grow() -> None:
    """Ask PyTorch's CUDA allocator for segments that can grow, unless the user has set it up.

    Without them the allocator may hold several percent more than the tensors need. Has an effect
    before the first use of CUDA only.
    """
    names = "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"
    if sys.platform == "linux" and not any(name in os.environ for name in names):
        os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"


def _keep_freed_memory() -> None:
    """Make the C library keep freed blocks, where it is glibc.

    By default it hands large blocks back to the kernel, which clears every page again at each
    step: about a sixth of a training step's time on a CPU (docs/experiments.md).
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC_SETTINGS:
            mallopt(parameter, value)


# M_MMAP_MAX: no block gets pages of its own; M_TRIM_THRESHOLD: give nothing back at the top;
# M_TOP_PAD: grow by 64 MiB at a time. Numbers from glibc's malloc.h.
_MALLOC_SETTINGS = ((-4, 0), (-1, 2**31 - 1), (-2, 2**26))


def autocast(device: torch.device, amp_dtype: str) -> contextlib.AbstractContextManager[object]:
    """Run matrix products and convolutions in ``amp_dtype``; ``float32`` changes nothing."""
    if amp_dtype not in AMP_DTYPES:
        raise ValueError(f"amp_dtype {amp_dtype!r}: one of {', '.join(AMP_DTYPES)}")
    if amp_dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, AMP_DTYPES[amp_dtype])


def full_precision(device: torch.device) -> torch.autocast:
    """Switch autocast off: for STFT, norms, rotary angles and masks, which stay in float32."""
    return torch.autocast(device.type, enabled=False)
