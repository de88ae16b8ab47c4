"""Which attention kernels really run for the shapes and dtypes of each preset."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.nn.attention import SDPBackend, sdpa_kernel

from mssctl import presets
from mssctl.checks.findings import failed, first_line, ok, warning
from mssctl.errors import MssctlError
from mssctl.hardware.attention import (
    BF16_CAPABILITY,
    SHORT_AXIS,
    attention,
    attention_kernel,
    attention_kernels_allowed,
)
from mssctl.hardware.device import AMP_DTYPES, choose_device, configure
from mssctl.models.architecture import AttentionShape
from mssctl.models.registry import architecture
from mssctl.models.run_config import RunConfig
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import Finding

SHORT_NAMES = {
    SDPBackend.FLASH_ATTENTION: "flash",
    SDPBackend.CUDNN_ATTENTION: "cudnn",
    SDPBackend.EFFICIENT_ATTENTION: "efficient",
    SDPBackend.MATH: "math",
}
FUSED = list(SHORT_NAMES)[:3]
REMEDY = "--set training.amp_dtype=float32, or a head size that is a multiple of 8"


@dataclass(frozen=True)
class Shape(AttentionShape):
    """What attention is given along one axis: two sequences do for a probe."""

    dtype: torch.dtype

    def inputs(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values."""
        size = (2, self.heads, self.length, self.head)
        q, k, v = torch.randn((3, *size), device=device, dtype=self.dtype).unbind()
        return q.requires_grad_(), k.requires_grad_(), v.requires_grad_()

    def __str__(self) -> str:
        short = str(self.dtype).removeprefix("torch.")
        return f"{self.axis}: {self.heads} heads of {self.head}, length {self.length}, {short}"


def kernels(_: DoctorOptions) -> Iterator[Finding]:
    """One finding per preset with attention, in the dtype that `train` can use here."""
    device = choose_device().device
    cuda = device.type == "cuda"
    bf16 = not cuda or torch.cuda.get_device_capability(device) >= BF16_CAPABILITY
    for name in presets.names():
        config = presets.load(name, [] if bf16 else ["training.amp_dtype=float32"])
        if given := shapes(config):
            yield probe(name, given, device)


def shapes(config: RunConfig) -> list[Shape]:
    """What a training step gives to attention, in the dtype of the configuration."""
    dtype = AMP_DTYPES[config.training.amp_dtype]
    return [
        Shape(one.axis, one.heads, one.length, one.head, dtype)
        for one in architecture(config.model).attention(config)
    ]


def probe(preset: str, given: list[Shape], device: torch.device) -> Finding:
    """Run attention forward and backward for each shape, and say which kernels did it."""
    name = f"attention of {preset}"
    if device.type != "cuda":
        for shape in given:
            run = shape.inputs(device)
            attention(*run).sum().backward()
        return ok(name, f"the kernel of {device.type}", map(str, given))
    configure(device, tf32=True, cudnn_benchmark=False)
    used, details, surprises = [], [], []
    for shape in given:
        found, refused = running(shape, device)
        try:
            attention(*shape.inputs(device)).sum().backward()
        except (MssctlError, RuntimeError) as error:
            return failed(name, f"{shape}: {first_line(error)}", REMEDY, refused)
        if not any(kernel in found for kernel in FUSED) and shape.length > SHORT_AXIS:
            return failed(name, f"{shape}: no fused kernel runs", REMEDY, refused)
        allowed = [kernel for kernel in FUSED if kernel in found] or found
        expected = expected_kernel(shape, device)
        used.append(SHORT_NAMES[allowed[0]])
        details += [f"{shape}: {', '.join(SHORT_NAMES[kernel] for kernel in found)} run", *refused]
        if expected not in found:
            surprises.append(f"{shape.axis}: {SHORT_NAMES.get(expected, 'none')} does not run")  # type: ignore[arg-type]
    summary = ", ".join(f"{shape.axis} {kernel}" for shape, kernel in zip(given, used, strict=True))
    if surprises:
        remedy = "plan reckons with another kernel: check it with mssctl plan --verify"
        return warning(name, f"{summary}; {', '.join(surprises)}", remedy, details)
    return ok(name, summary, details)


def running(shape: Shape, device: torch.device) -> tuple[list[SDPBackend], list[str]]:
    """The kernels that run forward and backward on their own; why the others do not."""
    found, refused = [], []
    for kernel, name in SHORT_NAMES.items():
        try:
            with sdpa_kernel(kernel):
                F.scaled_dot_product_attention(*shape.inputs(device)).sum().backward()
            torch.cuda.synchronize(device)
            found.append(kernel)
        except RuntimeError as error:
            refused.append(f"{name} does not run: {first_line(error)}")
    return found, refused


def expected_kernel(shape: Shape, device: torch.device) -> SDPBackend | None:
    """What `plan` takes to run."""
    with sdpa_kernel([*FUSED, SDPBackend.MATH], set_priority=True):
        allowed = attention_kernels_allowed()
    capability = torch.cuda.get_device_capability(device)
    return attention_kernel(shape.dtype, shape.head, capability, allowed)
