"""``mssctl bench --mode scan``: the ways to compute a Mamba-2 scan, compared."""

import platform
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from mssctl import presets
from mssctl.benchmark.clock import least_seconds
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Progress, Reporter, silent
from mssctl.hardware.device import choose_device, configure
from mssctl.models.registry import architecture
from mssctl.results.bench import ScanBench, ScanTiming

REPEATS = 3

_Inputs = tuple[Tensor, ...]
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
        report: receives the progress.

    Raises:
        MssctlError: a preset without a scan, no such device (exit 3).
    """
    config = presets.load(preset)
    kernel = architecture(config.model).kernel(config)
    if kernel is None:
        raise MssctlError(
            f"bench --mode scan: a {config.model.name} has no scan",
            hint="mssctl bench bsmamba2 --mode scan",
            exit_code=ExitCode.ENVIRONMENT,
        )
    chosen = choose_device(device).device
    configure(chosen, tf32=False, cudnn_benchmark=False)
    inputs = kernel.inputs(batch)
    truth = _results(kernel.reference, _on(inputs, chosen, torch.float64))
    inputs = _on(inputs, chosen, torch.float32)

    timings: list[ScanTiming] = []
    runs = kernel.variants(chosen)
    for number, way in enumerate(runs):
        report(Progress("bench", number, len(runs), "runs"))
        error = max(map(_relative_error, _results(way.run, inputs), truth))
        passes = partial(_results, way.run, inputs)  # forward and backward
        seconds = least_seconds(passes, 1 if way.chunk_size is None else REPEATS, chosen)
        loop = timings[0].seconds if timings else seconds
        timings.append(ScanTiming(way.name, way.chunk_size, seconds, loop / seconds, error))
    report(Progress("bench", len(runs), len(runs), "runs"))
    return ScanBench(
        preset=preset,
        device=str(chosen),
        machine=_machine(chosen),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        shape=kernel.sizes(inputs),
        timings=timings,
        left_out=kernel.left_out(chosen),
    )


def _on(inputs: _Inputs, device: torch.device, dtype: torch.dtype) -> _Inputs:
    return tuple(value.detach().to(device, dtype).requires_grad_() for value in inputs)


def _results(run: _Run, inputs: _Inputs) -> list[Tensor]:
    """Output, and gradients of the sum of its squares."""
    y = run(inputs)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), inputs)]


def _relative_error(value: Tensor, truth: Tensor) -> float:
    return float((value.double() - truth).norm() / truth.norm())


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
