"""The chunked scan is the recurrence, to the last digits, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from mssctl.errors import ExitCode, MssctlError
from mssctl.hardware.device import configure
from mssctl.models.bsmamba2 import scans
from mssctl.models.bsmamba2.scans import choose_scan, has_mamba_ssm, scan
from mssctl.models.bsmamba2.ssd import ssd_loop, ssd_output, ssd_scan

CPU = torch.device("cpu")
NAMES = ["x", "dt", "A", "B", "C", "D", "initial_state"]
BUILDS = [pytest.mark.slow, pytest.mark.compiler]  # minutes of C++
# torch's own compiler makes an object in a way that torch itself says will end one day.
COMPILES = pytest.mark.filterwarnings("ignore:<class 'torch.autograd.function.Function'>")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def inputs(
    length: int,
    *,
    heads: int = 3,
    features: int = 4,
    state: int = 8,
    dtype: torch.dtype = torch.float64,
    stretch: float = 1.0,
) -> list[Tensor]:
    """x, dt, A, B, C, D and an initial state for two sequences, as a mixer would see them."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    steps = torch.rand(2, length, heads, generator=generator, dtype=torch.float64)
    values = [
        normal(2, length, heads, features),
        stretch * 10.0 ** (2 * steps - 3),  # 0.001 to 0.1
        -(1 + 15 * torch.rand(heads, generator=generator, dtype=torch.float64)),
        normal(2, length, state),
        normal(2, length, state),
        normal(heads),
        normal(2, heads, features, state),
    ]
    return [value.to(dtype) for value in values]


def results(run, values: list[Tensor]) -> dict[str, Tensor]:
    """Output, last state, and the gradient of both with respect to everything."""
    values = [value.detach().requires_grad_() for value in values]
    y, final = run(*values[:6], initial_state=values[6])
    # A fixed cotangent for each output: the same whatever computes it.
    generator = torch.Generator().manual_seed(1)
    cotangents = [
        torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype)
        for out in (y, final)
    ]
    grads = torch.autograd.grad([y, final], values, cotangents)
    return {"y": y.detach(), "final": final.detach(), **dict(zip(NAMES, grads, strict=True))}


def relative_errors(values: dict[str, Tensor], truth: dict[str, Tensor]) -> dict[str, float]:
    return {
        name: float((values[name].double() - truth[name]).norm() / truth[name].norm())
        for name in truth
    }


@pytest.mark.parametrize("length", [1, 62, 63, 64, 65, 401, 801, 1601])
def test_output_and_gradients_are_those_of_the_recurrence_in_float64(length):
    values = inputs(length)
    truth = results(ssd_loop, values)
    single = [value.float() for value in values]
    for chunk_size in (16, 64, 256):
        errors = relative_errors(results(partial(ssd_scan, chunk_size=chunk_size), single), truth)
        assert max(errors.values()) < 1e-5, (chunk_size, errors)


@pytest.mark.parametrize("stretch", [30.0, 1000.0])
def test_decays_far_below_the_smallest_number_lose_no_digits(stretch):
    values = inputs(130, stretch=stretch)
    assert (values[1] * values[2]).sum(1).max() < -400  # exp of its negative is no float32
    truth = results(ssd_loop, values)
    errors = relative_errors(results(ssd_scan, [value.float() for value in values]), truth)
    assert max(errors.values()) < 1e-5, errors


@pytest.mark.parametrize("keep_state", [True, False])
@pytest.mark.parametrize(("length", "chunk_size"), [(5, 8), (11, 4)])
def test_gradients_are_the_slopes(length, chunk_size, keep_state):
    values = [value.requires_grad_() for value in inputs(length, heads=2, features=2, state=3)]

    def run(*given: Tensor) -> tuple[Tensor, ...]:
        if keep_state:
            return ssd_scan(*given[:6], chunk_size=chunk_size, initial_state=given[6])
        return (ssd_output(*given[:6], chunk_size),)

    assert torch.autograd.gradcheck(run, values if keep_state else values[:6])


@pytest.mark.parametrize("place", [1, 63, 64, 100])
def test_a_scan_in_two_parts_is_the_whole_scan(place):
    *sequences, initial = inputs(130)
    x, dt, A, B, C, D = sequences
    whole, last = ssd_scan(*sequences, initial_state=initial)
    first, state = ssd_scan(
        x[:, :place], dt[:, :place], A, B[:, :place], C[:, :place], D, initial_state=initial
    )
    second, end = ssd_scan(
        x[:, place:], dt[:, place:], A, B[:, place:], C[:, place:], D, initial_state=state
    )
    torch.testing.assert_close(torch.cat((first, second), 1), whole)
    torch.testing.assert_close(end, last)


def test_nothing_given_is_zero():
    *sequences, initial = inputs(70)
    zeros, _ = ssd_scan(*sequences, initial_state=torch.zeros_like(initial))
    torch.testing.assert_close(ssd_scan(*sequences)[0], zeros)
    torch.testing.assert_close(
        ssd_scan(*sequences[:5])[0], ssd_scan(*sequences[:5], torch.zeros(3).double())[0]
    )


def test_half_precision_rounds_the_operands_and_nothing_else():
    values = inputs(200, state=32, dtype=torch.float32)
    x, dt, A, B, C, D, initial = values
    half = (x.bfloat16(), dt, A, B.bfloat16(), C.bfloat16(), D)
    y, final = ssd_scan(*half, initial_state=initial)
    assert (y.dtype, final.dtype) == (torch.bfloat16, torch.float32)
    truth, truth_final = ssd_loop(*(value.double() for value in half), initial_state=initial)
    for value, exact in ((y, truth), (final, truth_final)):
        assert ((value.double() - exact).norm() / exact.norm()).item() < 2**-8
    with torch.autocast("cpu", torch.bfloat16):
        single, _ = ssd_scan(x, dt, A, B, C, D)
    torch.testing.assert_close(single, ssd_scan(x, dt, A, B, C, D)[0], rtol=0, atol=0)


def test_only_inputs_and_chunk_states_are_saved():
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    *sequences, _ = inputs(130, dtype=torch.float32)
    values = [value.requires_grad_() for value in sequences]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        ssd_output(*values, 64)
    given = {value.data_ptr() for value in values}
    extra = [tensor for tensor in saved if tensor.data_ptr() not in given]
    assert [tuple(tensor.shape) for tensor in extra] == [(2, 3, 8, 3, 4)]  # 3 chunks


def test_recomputed_gradients_are_the_same():
    values = inputs(70)
    plain = results(ssd_scan, values)

    def run(*given: Tensor, **keywords: Tensor) -> tuple[Tensor, Tensor]:
        return checkpoint(ssd_scan, *given, use_reentrant=False, **keywords)

    for name, value in results(run, values).items():
        torch.testing.assert_close(value, plain[name], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fake_tensors_pass_through_forward_and_backward(dtype):
    values = inputs(70, dtype=torch.float32)
    with FakeTensorMode() as mode:
        x, dt, A, B, C, D, initial = (mode.from_tensor(value) for value in values)
        x = x.to(dtype).requires_grad_()
        y, final = ssd_scan(x, dt, A, B.to(dtype), C.to(dtype), D, initial_state=initial)
        (y.float().sum() + final.sum()).backward()
    assert (y.shape, y.dtype) == (values[0].shape, dtype)
    assert (x.grad.shape, x.grad.dtype) == (values[0].shape, dtype)


@COMPILES
def test_the_whole_scan_is_one_graph_for_the_compiler():
    values = inputs(70, dtype=torch.float32)
    compiled = torch.compile(ssd_scan, fullgraph=True, backend="eager")
    errors = relative_errors(results(compiled, values), results(ssd_scan, values))
    assert max(errors.values()) < 1e-6


@pytest.mark.slow  # minutes of C++
@pytest.mark.compiler
@COMPILES
def test_compiled_code_computes_the_same():
    values = inputs(130, dtype=torch.float32)
    compiled = torch.compile(ssd_scan, fullgraph=True)
    errors = relative_errors(results(compiled, values), results(ssd_scan, values))
    assert max(errors.values()) < 1e-5


@pytest.mark.parametrize("name", ["torch", pytest.param("compiled", marks=BUILDS)])
@COMPILES
def test_every_backend_of_this_machine_gives_the_same(name):
    x, dt, A, B, C, D, _ = inputs(130)
    truth, _ = ssd_loop(x, dt, A, B, C, D)
    y = scan(name)(*(value.float() for value in (x, dt, A, B, C, D)), 64)
    assert ((y.double() - truth).norm() / truth.norm()).item() < 1e-5


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own parts
def test_every_backend_of_a_gpu_gives_the_same():
    configure(torch.device("cuda"), tf32=False, cudnn_benchmark=False)
    x, dt, A, B, C, D, _ = inputs(801, heads=16, features=64, state=128)
    truth, _ = ssd_loop(x, dt, A, B, C, D)
    values = [value.float().cuda() for value in (x, dt, A, B, C, D)]
    for name in ["torch", "compiled", *(["mamba_ssm"] if has_mamba_ssm() else [])]:
        y = scan(name)(*values, 64)
        error = ((y.double().cpu() - truth).norm() / truth.norm()).item()
        assert error < (1e-3 if name == "mamba_ssm" else 1e-5), name


def test_a_backend_is_chosen_once_and_never_switched(monkeypatch):
    assert choose_scan("auto", CPU).name == "torch"
    assert choose_scan("auto", torch.device("cuda")).name == "compiled"
    for installed, sentence in ((False, "not installed"), (True, "do not run on cpu")):
        monkeypatch.setattr(scans, "has_mamba_ssm", lambda installed=installed: installed)
        with pytest.raises(MssctlError, match=sentence) as refused:
            choose_scan("mamba_ssm", CPU)
        assert refused.value.exit_code == ExitCode.ENVIRONMENT
    assert choose_scan("mamba_ssm", torch.device("cuda")).name == "mamba_ssm"


@pytest.mark.parametrize("which", range(1, 5))
def test_shapes_that_do_not_go_together_are_named(which):
    values = inputs(10)
    values[which] = values[which][:-1]
    with pytest.raises(ValueError, match=f"{NAMES[which]}: expected"):
        ssd_scan(*values[:6])


def test_the_scan_is_linear_in_its_length():
    """Long sequences: the sums stay finite where products of decays would not."""
    x, dt, A, B, C, _, _ = inputs(5000, stretch=10.0, dtype=torch.float32)
    y, final = ssd_scan(x, dt, A, B, C)
    assert y.isfinite().all()
    assert final.isfinite().all()
    assert math.isfinite(float(final.norm()))
