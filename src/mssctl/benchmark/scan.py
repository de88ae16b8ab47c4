"""``mssctl bench --mode scan``: the ways to compute a Mamba-2 scan beside each other."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

import torch
from torch import Tensor

from mssctl import presets
from mssctl.config.schema import BSMamba2Config, RunConfig
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Progress, Reporter, silent
from mssctl.hardware.device import choose_device, configure
from mssctl.models.scans import Name, has_mamba_ssm, scan
from mssctl.models.ssd import ssd_loop
from mssctl.results.bench import ScanBench, ScanTiming

CHUNK_SIZES = (16, 32, 64, 128, 256)
REPEATS = 3

_Inputs = tuple[Tensor, ...]  # x, dt, A, B, C, D, all with gradients
_Run = Callable[[_Inputs], Tensor]


def bench_scan(
    preset: str = "bsmamba2",
    *,
    device: str = "auto",
    batch: int = 1,
    report: Reporter = silent,
) -> ScanBench:
    """Measure the scan of a preset's model: backends, chunk sizes and a loop over time steps.

    Each is run forward and backward at the model's own shapes, in float32, and its output and
    gradients are compared with those of the loop in float64.

    Args:
        preset: bundled name or path of a YAML file.
        device: ``auto``, ``cpu``, ``cuda`` ...
        batch: sequences at once. The loop keeps every state: about 1.3 GB per sequence at the
            published sizes.
        report: is told what happens.

    Raises:
        MssctlError: a preset without a scan, no such device (exit 3).
    """
    config = presets.load(preset)
    if not isinstance(config.model, BSMamba2Config):
        raise MssctlError(
            f"bench --mode scan: a {config.model.name} has no scan",
            hint="mssctl bench bsmamba2 --mode scan",
            exit_code=ExitCode.ENVIRONMENT,
        )
    chosen = choose_device(device).device
    configure(chosen, tf32=False, cudnn_benchmark=False)
    inputs = _inputs(config, config.model, batch)
    truth = _results(lambda given: ssd_loop(*given)[0], _on(inputs, chosen, torch.float64))
    inputs = _on(inputs, chosen, torch.float32)

    timings: list[ScanTiming] = []
    runs = _runs(chosen)
    for number, (name, chunk_size, run) in enumerate(runs):
        report(Progress("bench", number, len(runs), "runs"))
        error = max(map(_relative_error, _results(run, inputs), truth))
        seconds = _seconds(run, inputs, 1 if chunk_size is None else REPEATS)
        loop = timings[0].seconds if timings else seconds
        timings.append(ScanTiming(name, chunk_size, seconds, loop / seconds, error))
    report(Progress("bench", len(runs), len(runs), "runs"))
    _, length, heads, features = inputs[0].shape
    return ScanBench(
        preset=preset,
        device=str(chosen),
        machine=_machine(chosen),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        shape={
            "sequences": batch,
            "steps": length,
            "heads": heads,
            "headdim": features,
            "d_state": inputs[3].shape[-1],
        },
        timings=timings,
        left_out=_left_out(chosen),
    )


def _inputs(config: RunConfig, model: BSMamba2Config, sequences: int) -> _Inputs:
    """What the first mixer along time would see at the start of a training, but random."""
    generator = torch.Generator().manual_seed(0)
    length = config.training.segment_length // config.stft.hop_length + 1
    heads = model.expand * model.emb_dim // model.headdim

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        values = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return low + (high - low) * values

    return (
        normal(sequences, length, heads, model.headdim),
        uniform(model.dt_min, model.dt_max, sequences, length, heads),
        -uniform(*model.A_init_range, heads),
        normal(sequences, length, model.d_state),
        normal(sequences, length, model.d_state),
        normal(heads),
    )


def _on(inputs: _Inputs, device: torch.device, dtype: torch.dtype) -> _Inputs:
    return tuple(value.detach().to(device, dtype).requires_grad_() for value in inputs)


def _runs(device: torch.device) -> list[tuple[str, int | None, _Run]]:
    """What to measure: name, chunk size and function; the loop first."""
    names: list[Name] = ["torch"]
    if device.type == "cuda":
        names.append("compiled")
        if has_mamba_ssm():
            names.append("mamba_ssm")
    return [
        ("loop", None, lambda given: ssd_loop(*given)[0]),
        *((name, size, _chunked(name, size)) for name in names for size in CHUNK_SIZES),
    ]


def _chunked(name: Name, chunk_size: int) -> _Run:
    def run(given: _Inputs) -> Tensor:
        x, dt, A, B, C, D = given
        return scan(name)(x, dt, A, B, C, D, chunk_size)

    return run


def _left_out(device: torch.device) -> list[str]:
    """Backends that were not measured, and why."""
    if device.type != "cuda":
        return [
            f"compiled: measured on CUDA only, where it is the default; this is {device.type}",
            f"mamba_ssm: its kernels do not run on {device.type}",
        ]
    return [] if has_mamba_ssm() else ["mamba_ssm: not installed"]


def _results(run: _Run, inputs: _Inputs) -> list[Tensor]:
    """Output, and gradients of the sum of its squares."""
    y = run(inputs)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), inputs)]


def _relative_error(value: Tensor, truth: Tensor) -> float:
    return float((value.double() - truth).norm() / truth.norm())


def _seconds(run: _Run, inputs: _Inputs, repeats: int) -> float:
    """Least time of a forward and a backward pass."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        _results(run, inputs)
        if inputs[0].is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
