"""Which attention kernels run: on the CPU for real, on GPUs that are stood in for."""

from __future__ import annotations

import contextlib

import pytest
import torch

from mssctl import presets
from mssctl.checks import kernels as checks
from mssctl.errors import MssctlError
from mssctl.hardware.device import DeviceChoice
from mssctl.options.doctor import DoctorOptions

FLASH, CUDNN, EFFICIENT, MATH = checks.SHORT_NAMES
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def shapes_of(name, *overrides):
    config = presets.load(name, overrides)
    return checks.shapes(config)


def test_shapes_are_those_of_a_training_step():
    bands, frames = shapes_of("base")
    assert (bands.heads, bands.head, bands.length) == (8, 24, 62)
    assert (frames.length, frames.dtype) == (431, torch.bfloat16)
    bins, _ = shapes_of("ultra_safe", "model.front_end=bins", "training.amp_dtype=float32")
    assert (bins.length, bins.dtype) == (1025, torch.float32)


def test_on_the_cpu_every_preset_with_attention_is_run(monkeypatch):
    monkeypatch.setattr(checks, "choose_device", lambda: DeviceChoice(CPU, "no GPU"))
    findings = list(checks.kernels(DoctorOptions()))
    assert {finding.state for finding in findings} == {"ok"}
    names = [finding.name for finding in findings]
    assert "attention of base" in names
    assert "attention of bsmamba2" not in names


@pytest.fixture
def gpu(monkeypatch):
    """A GPU on which these kernels run; the tensors are on the CPU."""

    def stand_in(*runs, capability=(9, 0), attention=None):
        forced = []

        @contextlib.contextmanager
        def pin(kernels, **_):
            forced.append(kernels)
            try:
                yield
            finally:
                forced.pop()

        def attend(q, k, v):
            if forced and forced[-1] not in runs:
                raise RuntimeError("No available kernel. Aborting execution.\nmore")
            return q + k + v

        monkeypatch.setattr(checks, "sdpa_kernel", pin)
        monkeypatch.setattr(checks.F, "scaled_dot_product_attention", attend)
        monkeypatch.setattr(checks, "attention", attention or attend)
        monkeypatch.setattr(checks, "configure", lambda *_, **__: None)
        monkeypatch.setattr(checks, "attention_kernels_allowed", lambda: list(checks.SHORT_NAMES))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)
        make = checks.Shape.inputs
        monkeypatch.setattr(checks.Shape, "inputs", lambda shape, device: make(shape, CPU))

    return stand_in


def test_the_preferred_kernel_that_runs_is_named_and_so_are_the_others(gpu):
    gpu(FLASH, EFFICIENT, MATH)
    finding = checks.probe("base", shapes_of("base"), CUDA)
    assert (finding.state, finding.summary) == ("ok", "bands flash, frames flash")
    assert "cudnn does not run: RuntimeError: No available kernel. Aborting execution." in (
        finding.details
    )


def test_where_another_kernel_runs_than_plan_takes_that_is_a_warning(gpu):
    gpu(EFFICIENT, MATH)
    finding = checks.probe("base", shapes_of("base"), CUDA)
    assert finding.state == "warning"
    assert "frames efficient" in finding.summary
    assert "plan --verify" in finding.remedy


def test_a_long_axis_with_the_math_kernel_alone_fails(gpu):
    gpu(MATH)
    finding = checks.probe("base", shapes_of("base"), CUDA)
    assert finding.state == "failed"
    assert "frames: 8 heads of 24, length 431, bfloat16: no fused kernel runs" in finding.summary


def test_attention_that_is_refused_fails(gpu):
    def refuse(q, k, v):
        raise MssctlError("no fused attention kernel")

    gpu(FLASH, attention=refuse)
    finding = checks.probe("base", shapes_of("base"), CUDA)
    assert finding.state == "failed"
    assert "no fused attention kernel" in finding.summary
    assert finding.remedy
