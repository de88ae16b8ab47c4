"""Numeric self-tests on the device: scan, attention and STFT against what they must give."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mssctl import presets
from mssctl.audio.stft import STFT
from mssctl.checks.device import compared, relative_error
from mssctl.hardware.attention import attention
from mssctl.hardware.device import choose_device, configure
from mssctl.models.registry import ARCHITECTURES
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import Finding

WRONG = "do not trust results of this device: compute with --device cpu, and check its memory"


def scans(_: DoctorOptions) -> Iterator[Finding]:
    """Each kernel with several forms, in the form that `train` uses here, against the plainest."""
    where = choose_device().device
    configure(where, tf32=False, cudnn_benchmark=False)
    for architecture in ARCHITECTURES.values():
        kernel = architecture.kernel()
        if kernel is None:
            continue
        inputs = kernel.inputs(2)
        truth_in = [value.clone().requires_grad_() for value in inputs]
        given = [value.to(where, torch.float32).requires_grad_() for value in inputs]
        truth = _with_gradients(kernel.reference(tuple(truth_in)), truth_in)
        chosen = kernel.chosen(where)
        error = _worst(_with_gradients(chosen.run(tuple(given)), given), truth)
        what = f"{chosen.name} on {where.type}, {kernel.claim}"
        yield compared(kernel.title, what, error, 1e-4, f"{kernel.remedy}; else {WRONG}")


def attention_bf16(_: DoctorOptions) -> Iterator[Finding]:
    """Attention in bf16 on the device against float32, forward and backward."""
    where = choose_device().device
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 320, 32) for _ in range(3))
    truth_in = [value.double().requires_grad_() for value in (q, k, v)]
    scores = truth_in[0] @ truth_in[1].transpose(-1, -2) / 32**0.5
    truth = _with_gradients(scores.softmax(-1) @ truth_in[2], truth_in)
    configure(where, tf32=True, cudnn_benchmark=False)
    for dtype, limit in ((torch.float32, 5e-3), (torch.bfloat16, 3e-2)):
        given = [value.to(where, dtype).requires_grad_() for value in (q, k, v)]
        error = _worst(_with_gradients(_attend(given), given), truth)
        short = str(dtype).removeprefix("torch.")
        yield compared(
            f"attention {short}", f"on {where.type}, against float64", error, limit, WRONG
        )


def stft(_: DoctorOptions) -> Iterator[Finding]:
    """STFT and back, for each transform that a preset uses."""
    where = choose_device().device
    configs = {
        (config.stft.n_fft, config.stft.hop_length, config.stft.window)
        for config in map(presets.load, presets.names())
        if config.model.uses_stft
    }
    torch.manual_seed(0)
    wave = torch.randn(2, 22_050)
    errors = {}
    for n_fft, hop_length, window in sorted(configs):
        transform = STFT(n_fft, hop_length, window).to(where)
        back = transform.inverse(transform(wave.to(where)), wave.shape[-1])
        errors[f"{n_fft}/{hop_length}"] = relative_error(back, wave)
    worst = max(errors.values(), key=_badness)
    yield compared("STFT", f"and back on {where.type}, {', '.join(errors)}", worst, 1e-5, WRONG)


def _attend(given: list[Tensor]) -> Tensor:
    q, k, v = given
    return attention(q, k, v)


def _with_gradients(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Output, and gradients of the sum of its squares."""
    return [y, *torch.autograd.grad(y.square().sum(dtype=torch.float64), inputs)]


def _worst(found: list[Tensor], truth: list[Tensor]) -> float:
    errors = [relative_error(*pair) for pair in zip(found, truth, strict=True)]
    return max(errors, key=_badness)


def _badness(error: float) -> float:
    return math.inf if math.isnan(error) else error
