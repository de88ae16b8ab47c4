"""Checks of the device that PyTorch computes on: precision, optimizer, convolutions, compiler."""

import os
import shutil
import time
import timeit
from collections.abc import Iterator
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from mssctl.checks.findings import failed, first_line, needs_gpu, note, ok, warning
from mssctl.checks.python import ALLOCATOR_VARIABLES
from mssctl.config.schema import OptimizerConfig
from mssctl.hardware.builds import cuda_build_for, install_line
from mssctl.hardware.device import choose_device, configure
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import Finding
from mssctl.training.optim import build_optimizer

RERUN = "compute on the CPU meanwhile (--device cpu), and report this with `mssctl doctor -v`"


def device(settings: DoctorOptions) -> Iterator[Finding]:
    """Which device is used and why; whether it computes at all."""
    name = "device"
    choice = choose_device()
    if choice.device.type == "cpu":
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        if hidden is not None and torch.version.cuda:
            summary = f"cpu: CUDA_VISIBLE_DEVICES={hidden!r} shows PyTorch no GPU"
            yield needs_gpu(settings, name, summary, "unset CUDA_VISIBLE_DEVICES to use a GPU")
            return
        remedy = "nothing to do for the CPU; for a GPU see CUDA build"
        yield needs_gpu(settings, name, f"cpu: {choice.reason}", remedy)
        return
    try:
        total = float(torch.ones(64, device=choice.device).sum())
    except RuntimeError as error:
        remedy = "run `nvidia-smi`; free its memory, or reboot"
        if "no kernel image" in str(error):
            remedy = install_line(cuda_build_for(torch.cuda.get_device_capability()))
        yield failed(name, f"{choice.device} ({choice.reason}): {first_line(error)}", remedy)
        return
    if total != 64.0:
        yield failed(name, f"{choice.device}: the sum of 64 ones is {total}", RERUN)
        return
    yield ok(name, f"{choice.device}: {choice.reason}", [f"threads: {torch.get_num_threads()}"])


def allocator(_: DoctorOptions) -> Iterator[Finding]:
    """What the environment says to PyTorch's CUDA allocator, and whether that is understood."""
    name = "allocator"
    given = {key: os.environ[key] for key in ALLOCATOR_VARIABLES if os.environ.get(key)}
    if not given:
        yield ok(name, "no setting; `mssctl train` asks for expandable_segments")
        return
    variable, value = next(iter(given.items()))
    summary, remedy = f"{variable}={value}", f"unset {variable}"
    try:
        torch._C._accelerator_setAllocatorSettings(value)
    except (ValueError, RuntimeError) as error:
        yield failed(
            name, f"{summary}: PyTorch refuses it: {first_line(error)}", remedy, fix=remedy
        )
        return
    plain = value.replace(" ", "").lower()
    if len(given) > 1:
        other = list(given)[1]
        yield warning(
            name, f"{summary}, and {other}={given[other]}", f"unset {other}", fix=f"unset {other}"
        )
    elif "backend:" in plain and "backend:native" not in plain:
        yield warning(name, f"{summary}: plan assumes another allocator", remedy, fix=remedy)
    elif "expandable_segments:true" not in plain:
        better = f"{variable}=expandable_segments:True leaves less memory unused"
        fix = f"export {better.partition(' ')[0]}"
        yield note(name, f"{summary}, without expandable_segments", better, fix=fix)
    else:
        yield ok(name, summary)


def precision(_: DoctorOptions) -> Iterator[Finding]:
    """TF32 and bf16, as they are in force after what `train` sets."""
    where = choose_device().device
    if where.type == "cuda":
        configure(where, tf32=True, cudnn_benchmark=False)
        yield _tf32()
    else:
        yield ok("TF32", f"only on CUDA; this is {where.type}")
    yield _bf16(where)


def _tf32() -> Finding:
    overriding = [
        f"{key}={os.environ[key]}"
        for key in ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")
        if key in os.environ
    ]
    matmul = torch.get_float32_matmul_precision()
    convolution = torch.backends.cudnn.allow_tf32
    summary = f"with training.tf32: matrix products {matmul}, convolutions {convolution}"
    if overriding:
        what = ", ".join(overriding)
        return warning("TF32", f"{summary}; overridden by {what}", f"unset {what.split('=')[0]}")
    if torch.cuda.get_device_capability() < (8, 0):
        return note("TF32", "this GPU has none", "nothing to do: float32 runs in full precision")
    return ok("TF32", summary)


def _bf16(where: torch.device) -> Finding:
    if where.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return ok("bf16", "in hardware")
        remedy = "train with --set training.amp_dtype=float32; `separate` takes fp16 by itself"
        return warning("bf16", "not in hardware: fused attention does not take it here", remedy)
    if where.type != "cpu":
        return ok("bf16", f"on {where.type}")
    gain = _seconds(torch.float32) / _seconds(torch.bfloat16)
    summary = f"convolutions {gain:.1f} times as fast as in fp32 on this CPU"
    if gain >= 1.0:
        return ok("bf16", summary)
    return note("bf16", summary, "to train here: --set training.amp_dtype=float32")


def _seconds(dtype: torch.dtype) -> float:
    """Best of a few runs of a convolution as in the feed-forward of preset ``small``."""
    signal, kernel = torch.zeros(16, 96, 431, dtype=dtype), torch.zeros(768, 96, 4, dtype=dtype)
    runs = timeit.repeat(lambda: torch.conv1d(signal, kernel), number=1, repeat=4)
    return min(runs[1:])  # the first prepares the kernel


def optimizer(_: DoctorOptions) -> Iterator[Finding]:
    """Fused AdamW: whether it runs, and steps as the plain one does."""
    where, name = choose_device().device, "fused AdamW"
    results = []
    for fused in (False, True):
        torch.manual_seed(0)
        model = nn.Linear(32, 32)
        weight = model.weight
        model.to(where)
        try:
            optimizer = build_optimizer(model, OptimizerConfig(fused=fused))
            for _step in range(3):
                optimizer.zero_grad()
                model(torch.ones(4, 32, device=where)).square().mean().backward()
                optimizer.step()
        except RuntimeError as error:
            remedy = "--set optimizer.fused=false"
            yield failed(name, first_line(error), remedy)
            return
        results.append(weight.detach().cpu().double())
    difference = relative_error(results[1], results[0])
    yield compared(name, f"on {where.type}", difference, 1e-5, "--set optimizer.fused=false")


def convolutions(_: DoctorOptions) -> Iterator[Finding]:
    """Convolutions, channels last as the blocks give them, against contiguous ones in float64."""
    where = choose_device().device
    torch.manual_seed(0)
    x = torch.randn(2, 96, 64)
    layer = nn.Conv1d(96, 192, 4)
    truth = layer.double()(x.double()).detach()
    inputs = x.transpose(1, 2).contiguous().transpose(1, 2).to(where).requires_grad_()
    y = layer.float().to(where)(inputs)
    y.square().mean().backward()
    assert inputs.grad is not None
    error = relative_error(y, truth) if bool(inputs.grad.isfinite().all()) else float("nan")
    # TF32 keeps 10 bits of the mantissa.
    yield compared("channels-last convolution", f"on {where.type}", error, 5e-3, RERUN)


def compiler(_: DoctorOptions) -> Iterator[Finding]:
    """torch.compile: on CUDA whole, with Triton, as the scan is compiled there; else its tracer."""
    where, name = choose_device().device, "torch.compile"
    cuda = where.type == "cuda"
    if cuda and find_spec("triton") is None:
        remedy = "install PyTorch again; or --set model.scan_backend=torch for BSMamba2"
        yield failed(name, "Triton is not installed", remedy)
        return

    def smooth(x: Tensor) -> Tensor:
        return (x.sin() * 2 + 1).cumsum(-1)

    x = torch.linspace(0, 1, 512, device=where)
    started = time.perf_counter()
    try:
        y = torch.compile(smooth, backend="inductor" if cuda else "eager")(x)
    except Exception as error:  # noqa: BLE001 (a compiler may raise anything)
        missing = [] if shutil.which("gcc") or shutil.which("cc") else ["no C compiler found"]
        remedy = "install gcc and Python's headers; or --set model.scan_backend=torch"
        summary = ", ".join([first_line(error), *missing])
        yield (failed if cuda else warning)(name, summary, remedy, str(error).splitlines()[:40])
        return
    seconds = time.perf_counter() - started
    what = (
        "compiled with Triton" if cuda else f"traced; code is compiled on CUDA, not on {where.type}"
    )
    difference = relative_error(y, smooth(x.cpu().double()))
    yield compared(
        name, f"{what}, {seconds:.1f} s", difference, 1e-4, "--set model.scan_backend=torch"
    )


def relative_error(value: Tensor, truth: Tensor) -> float:
    """Norm of the difference over norm of the truth; NaN if there is one in ``value``."""
    truth = truth.detach().cpu().double()
    return float((value.detach().cpu().double() - truth).norm() / truth.norm())


def compared(name: str, what: str, error: float, limit: float, remedy: str) -> Finding:
    """A finding from a relative error."""
    summary = f"{what}: relative error {error:.1e}"
    if error <= limit:  # NaN is not
        return ok(name, summary, [f"at most {limit:g} is expected"])
    return failed(name, f"{summary}, at most {limit:g} is expected", remedy)
