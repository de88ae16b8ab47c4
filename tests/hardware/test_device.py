"""Device, dtype and attention kernel are chosen in one place, and never in silence."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend

from mssctl.errors import ExitCode, MssctlError
from mssctl.hardware import attention as kernels
from mssctl.hardware import device as hardware
from mssctl.models.run_config import RunConfig
from mssctl.planning.predict.fake_step import predict_peak
from mssctl.training.prepare import prepare
from presented_cuda import T4, Card, presented_cuda

CPU = torch.device("cpu")


def test_auto_takes_the_cpu_where_there_is_nothing_else_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    choice = hardware.choose_device()
    assert choice.device == CPU
    assert "CUDA" in choice.reason or "GPU" in choice.reason


@pytest.mark.parametrize(("name", "index"), [("auto", 1), ("cuda", 1), ("cuda:0", 0)])
def test_a_gpu_always_has_an_index(name: str, index: int) -> None:
    with presented_cuda(Card("a card"), Card("another card")) as shown:
        shown.current = 1
        choice = hardware.choose_device(name)
    assert choice.device == torch.device("cuda", index)
    assert choice.reason == ("another card" if name == "auto" else "asked for")


@pytest.mark.parametrize(
    ("capability", "name", "why"),
    [((12, 0), "bf16", ""), ((7, 5), "fp16", "has 7.5"), ((6, 1), "fp32", "has 6.1")],
)
def test_auto_is_a_dtype_that_works_on_the_gpu(capability, name: str, why: str) -> None:
    with presented_cuda(Card(capability=capability)):
        choice = hardware.choose_dtype("auto", torch.device("cuda", 0))
    assert choice.name == name
    assert why in choice.reason
    head, long = 24, [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
    dtype = hardware.AMP_DTYPES[choice.amp_dtype]
    assert kernels.attention_kernel(dtype, head, capability, long)
    assert kernels.attention_kernel(torch.float32, head, capability, long)


def test_bfloat16_is_refused_where_there_is_none() -> None:
    assert hardware.choose_dtype("bf16", CPU).amp_dtype == "bfloat16"
    with presented_cuda(T4):
        gpu = torch.device("cuda", 0)
        assert hardware.choose_dtype("fp16", gpu).amp_dtype == "float16"
        with pytest.raises(MssctlError, match=r"capability 8\.0, .* has 7\.5") as no:
            hardware.choose_dtype("bf16", gpu)
        with pytest.raises(MssctlError, match=r"training\.amp_dtype bfloat16") as no_training:
            prepare(RunConfig(), gpu)
    assert no.value.exit_code == no_training.value.exit_code == ExitCode.ENVIRONMENT
    assert "--dtype fp16" in str(no.value.hint)
    assert no_training.value.hint == "--set training.amp_dtype=float32"


@pytest.mark.parametrize(
    ("dtype", "head", "hint"),
    [
        (torch.bfloat16, 24, "--dtype fp32"),
        (torch.float16, 12, "--set training.amp_dtype=float32"),
        (torch.float32, 10, "multiple of 8"),
    ],
)
def test_attention_without_a_kernel_names_what_helps(
    dtype, head: int, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kernels._ALLOWED, "math", False)

    def step(qkv: torch.Tensor) -> None:
        kernels.attention(*qkv)

    with pytest.raises(MssctlError, match="no fused attention") as caught:
        predict_peak(
            lambda: torch.empty(3, 1, 2, 300, head, dtype=dtype), step, capability=(7, 5), steps=1
        )
    assert hint in str(caught.value.hint)


def test_a_choice_against_tf32_is_not_advised_against() -> None:
    advice = "TensorFloat32 tensor cores"  # the compiler itself takes seconds to import
    compiler = Path(torch.__file__).parent / "_inductor" / "compile_fx.py"
    assert f'"{advice} for float32' in compiler.read_text(encoding="utf-8")
    with presented_cuda(), warnings.catch_warnings():
        warnings.simplefilter("error")
        hardware.configure(torch.device("cuda", 0), tf32=False, cudnn_benchmark=False)
        warnings.warn(f"{advice} for float32", stacklevel=1)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "xpu", "gpu", "cuda:x"])
def test_a_device_that_is_not_there_is_an_environment_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(MssctlError, match=name.partition(":")[0]) as caught:
        hardware.choose_device(name)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_a_gpu_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(MssctlError, match=r"cuda:1: this machine has 1"):
        hardware.choose_device("cuda:1")


@pytest.mark.parametrize("name", ["cpu:1", "cpu:7"])
def test_there_is_one_cpu(name: str) -> None:
    with pytest.raises(MssctlError, match=f"{name}: there is one cpu only"):
        hardware.choose_device(name)
    assert hardware.choose_device("cpu:0").device.type == "cpu"


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("bfloat16", torch.bfloat16), ("float16", torch.float16), ("float32", torch.float32)],
)
def test_autocast_computes_in_the_dtype_it_is_given(name: str, dtype: torch.dtype) -> None:
    with hardware.autocast(CPU, name):
        assert torch.nn.functional.linear(torch.ones(2, 2), torch.ones(2, 2)).dtype == dtype


def test_full_precision_switches_autocast_off_inside() -> None:
    with hardware.autocast(CPU, "bfloat16"), hardware.full_precision(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_an_unknown_dtype_is_a_wrong_call() -> None:
    with pytest.raises(ValueError, match="bfloat16, float16, float32"):
        hardware.autocast(CPU, "bf17")


@pytest.mark.parametrize(("tf32", "precision"), [(True, "high"), (False, "highest")])
def test_the_switches_of_a_gpu_are_set(
    tf32: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, object] = {}
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda p: seen.update(precision=p))
    monkeypatch.setattr(torch.backends.cuda, "enable_math_sdp", lambda on: seen.update(math=on))
    monkeypatch.setitem(kernels._ALLOWED, "math", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", not tf32)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    hardware.configure(torch.device("cuda"), tf32=tf32, cudnn_benchmark=True)
    assert seen == {"precision": precision, "math": False}
    assert kernels._ALLOWED["math"] is False
    assert torch.backends.cudnn.allow_tf32 is tf32
    assert torch.backends.cudnn.benchmark is True


@pytest.mark.parametrize(
    ("length", "allowed", "math"), [(62, False, True), (1025, False, False), (1025, True, True)]
)
def test_long_axes_never_meet_the_math_kernel_unless_allowed(
    length: int, allowed: bool, math: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[SDPBackend] = []

    class Recorded:
        def __init__(self, backends: list[SDPBackend], set_priority: bool) -> None:
            seen.extend(backends)

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(kernels, "sdpa_kernel", Recorded)
    monkeypatch.setitem(kernels._ALLOWED, "math", allowed)
    with kernels._kernels(length):
        pass
    assert seen[0] == SDPBackend.FLASH_ATTENTION
    assert (SDPBackend.MATH in seen) is math
