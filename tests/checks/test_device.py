"""Device, precision, optimizer, convolutions, compiler, numerics: each check as it fails."""

from __future__ import annotations

import math

import pytest
import torch

from mssctl.checks import device as checks
from mssctl.checks import numerics
from mssctl.hardware.device import DeviceChoice
from mssctl.models.bsmamba2 import kernel
from mssctl.options.doctor import DoctorOptions

CPU = DeviceChoice(torch.device("cpu"), "this machine has no GPU")
CUDA = DeviceChoice(torch.device("cuda"), "a card")


def look(check, settings=None):
    findings = list(check(settings or DoctorOptions()))
    for finding in findings:
        assert (finding.state == "ok") == (finding.remedy is None)
    return findings


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for module in (checks, numerics):
        monkeypatch.setattr(module, "choose_device", lambda: CPU)


@pytest.fixture
def on_cuda(monkeypatch):
    """As on a GPU of this capability; tensors cannot be made there."""

    def stand_in(capability=(9, 0)):
        monkeypatch.setattr(checks, "choose_device", lambda: CUDA)
        monkeypatch.setattr(checks, "configure", lambda *_, **__: None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)

    return stand_in


def test_a_machine_without_a_gpu_is_a_note_and_says_why():
    (finding,) = look(checks.device)
    assert finding.state == "note"
    assert "this machine has no GPU" in finding.summary
    (finding,) = look(checks.device, DoctorOptions(require_gpu=True))
    assert finding.state == "failed"


def test_gpus_that_are_hidden_are_pointed_out(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    (finding,) = look(checks.device)
    assert "unset CUDA_VISIBLE_DEVICES" in finding.remedy


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("CUDA error: no kernel image is available for execution on the device", "cu128"),
        ("CUDA out of memory", "nvidia-smi"),
    ],
)
def test_a_gpu_that_does_not_compute_fails_with_its_remedy(monkeypatch, on_cuda, message, word):
    def refuse(*_, **__):
        raise RuntimeError(message)

    on_cuda((12, 0))
    monkeypatch.setattr(torch, "ones", refuse)
    (finding,) = look(checks.device)
    assert finding.state == "failed"
    assert word in finding.remedy


@pytest.mark.parametrize(("total", "state"), [(64.0, "ok"), (63.0, "failed")])
def test_a_gpu_that_miscounts_fails(monkeypatch, on_cuda, total, state):
    on_cuda()
    monkeypatch.setattr(torch, "ones", lambda *_, **__: torch.tensor(total))
    (finding,) = look(checks.device)
    assert finding.state == state


@pytest.mark.parametrize(("gain", "state"), [(1.4, "ok"), (0.5, "note")])
def test_on_a_cpu_there_is_no_tf32_and_bf16_is_judged_by_its_speed(monkeypatch, gain, state):
    seconds = {torch.float32: gain, torch.bfloat16: 1.0}
    monkeypatch.setattr(checks, "_seconds", seconds.__getitem__)
    tf32, bf16 = look(checks.precision)
    assert (tf32.state, bf16.state) == ("ok", state)
    assert f"{gain} times" in bf16.summary


def test_a_convolution_can_be_timed_in_either_precision():
    assert 0.0 < checks._seconds(torch.bfloat16) < 10.0


@pytest.mark.parametrize(
    ("capability", "override", "states"),
    [
        ((9, 0), None, ["ok", "ok"]),
        ((9, 0), "0", ["warning", "ok"]),
        ((7, 5), None, ["note", "warning"]),
    ],
)
def test_tf32_and_bf16_on_cuda(monkeypatch, on_cuda, capability, override, states):
    on_cuda(capability)
    supported = capability >= (8, 0)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: supported)
    monkeypatch.delenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", raising=False)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    if override:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    assert [finding.state for finding in look(checks.precision)] == states


ALL = [
    checks.optimizer,
    checks.convolutions,
    checks.compiler,
    numerics.scans,
    numerics.attention_bf16,
    numerics.stft,
]


@pytest.mark.parametrize("check", ALL)
def test_this_machine_computes_right(check):
    assert {finding.state for finding in look(check)} == {"ok"}


def test_an_optimizer_that_is_not_fused_here_fails(monkeypatch):
    build = checks.build_optimizer

    def without(model, config):
        if config.fused:
            raise RuntimeError("`fused=True` requires all the params to be floating point")
        return build(model, config)

    monkeypatch.setattr(checks, "build_optimizer", without)
    (finding,) = look(checks.optimizer)
    assert (finding.state, finding.remedy) == ("failed", "--set optimizer.fused=false")


def test_an_optimizer_that_steps_elsewhere_fails(monkeypatch):
    build = checks.build_optimizer

    def other(model, config):
        return build(model, config.model_copy(update={"lr": 2e-3 if config.fused else 1e-3}))

    monkeypatch.setattr(checks, "build_optimizer", other)
    (finding,) = look(checks.optimizer)
    assert finding.state == "failed"


def test_a_wrong_convolution_fails(monkeypatch):
    real = torch.nn.Conv1d.forward

    def wrong(layer, x):
        return real(layer, x) * (1.1 if x.dtype == torch.float32 else 1.0)

    monkeypatch.setattr(torch.nn.Conv1d, "forward", wrong)
    (finding,) = look(checks.convolutions)
    assert finding.state == "failed"


def test_a_compiler_that_raises_is_a_warning_where_nothing_is_compiled(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", refuse)
    monkeypatch.setattr(checks.shutil, "which", lambda name: None)
    (finding,) = look(checks.compiler)
    assert finding.state == "warning"
    assert "no C compiler found" in finding.summary


def test_a_compiler_that_miscompiles_fails(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda f, backend: lambda x: f(x) + 1)
    (finding,) = look(checks.compiler)
    assert finding.state == "failed"


def test_no_triton_on_cuda_fails(monkeypatch, on_cuda):
    on_cuda()
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    (finding,) = look(checks.compiler)
    assert finding.state == "failed"
    assert "Triton" in finding.summary


def test_a_scan_that_is_wrong_fails(monkeypatch):
    monkeypatch.setattr(kernel, "ssd_loop", lambda x, dt, A, B, C, D: (D[:, None] * x, None))
    # the truth lacks what the other inputs do, so give them no say in it
    monkeypatch.setattr(numerics, "_with_gradients", lambda y, inputs: [y])
    (finding,) = look(numerics.scans)
    assert finding.state == "failed"
    assert "model.scan_backend=torch" in finding.remedy


@pytest.mark.parametrize("wrong", [1.1, math.nan])
def test_attention_that_is_wrong_fails(monkeypatch, wrong):
    real = numerics.attention
    monkeypatch.setattr(numerics, "attention", lambda q, k, v: wrong * real(q, k, v))
    assert [finding.state for finding in look(numerics.attention_bf16)] == ["failed", "failed"]


@pytest.mark.parametrize("wrong", [1.001, math.nan])
def test_an_stft_that_does_not_come_back_fails(monkeypatch, wrong):
    real = numerics.STFT.inverse
    monkeypatch.setattr(
        numerics.STFT, "inverse", lambda self, spec, length: wrong * real(self, spec, length)
    )
    (finding,) = look(numerics.stft)
    assert finding.state == "failed"


def understand(value):
    """As PyTorch does, without a change to this process."""
    known = {"expandable_segments", "roundup_power2_divisions", "max_split_size_mb", "backend"}
    if value.partition(":")[0] not in known or ":" not in value:
        raise ValueError(f"Unrecognized key in {value}")


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (None, "ok"),
        ("expandable_segments:True", "ok"),
        ("expandable_segments:True,roundup_power2_divisions:[256:1,512:2,>:4]", "ok"),
        ("max_split_size_mb:128", "note"),
        ("", "ok"),
        ("backend:cudaMallocAsync", "warning"),
        ("expandable_segment:True", "failed"),
        ("expandable_segments", "failed"),
    ],
)
def test_the_allocators_configuration(monkeypatch, value, state):
    for key in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setattr(torch._C, "_accelerator_setAllocatorSettings", understand)
    if value is not None:
        monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", value)
    assert [finding.state for finding in look(checks.allocator)] == [state]


def test_two_allocator_variables_are_a_warning(monkeypatch):
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:False")
    monkeypatch.setattr(torch._C, "_accelerator_setAllocatorSettings", understand)
    (finding,) = look(checks.allocator)
    assert (finding.state, finding.remedy) == ("warning", "unset PYTORCH_CUDA_ALLOC_CONF")
