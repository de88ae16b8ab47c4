"""``mssctl bench``: how fast this machine trains, separates, and reads a data set."""

from pathlib import Path
from typing import Any

import torch

from mssctl import presets
from mssctl.benchmark.measure import measure_steps
from mssctl.benchmark.work import work_of
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter, silent
from mssctl.files import check_new
from mssctl.hardware.device import choose_device, let_segments_grow
from mssctl.hardware.machine import GIB
from mssctl.options.base import as_overrides
from mssctl.options.bench import BenchOptions
from mssctl.results.bench import StepBench

ON_CPU = "starter"  # a step takes about two seconds on two cores
ON_GPU = "base"


def bench(
    preset: str | None = None,
    options: BenchOptions | None = None,
    *,
    report: Reporter = silent,
    **changes: Any,
) -> StepBench:
    """Measure steps of a preset.

    ``train`` measures the trainer's own step, on noise or on the examples of ``data``;
    ``separate`` a song of four segments of noise per step; ``loader`` reads the examples of a
    training step per step, without a model.

    Args:
        preset: bundled name or path of a YAML file; None: ``base`` on a GPU, ``starter`` elsewhere.
        options: what is measured and how; the defaults if None.
        report: receives events.
        changes: fields of `BenchOptions`, instead of those in ``options``.

    Raises:
        MssctlError: no such preset or device, a trace that cannot be written, or out of memory.
    """
    given = BenchOptions.given(options, changes)
    mode, overrides = given.mode, given.overrides
    if mode == "scan":
        raise MssctlError(
            "mode scan: measured by mssctl.benchmark.scan.bench_scan", exit_code=ExitCode.USAGE
        )
    if mode == "loader" and given.device not in ("auto", "cpu"):
        raise MssctlError(
            f"`device` {given.device} does nothing in mode loader: examples are read on the CPU",
            exit_code=ExitCode.USAGE,
        )
    let_segments_grow()  # as `train` does
    chosen = choose_device(given.device).device
    if preset is None:
        preset = ON_GPU if chosen.type == "cuda" else ON_CPU
        report(Notice(f"preset {preset}: the default on {chosen.type}"))
    if mode == "loader":
        chosen = torch.device("cpu")
    if given.batch is not None:
        section = "separation" if mode == "separate" else "training"
        key = f"{section}.batch_size"
        overrides = as_overrides({key: ("batch", given.batch)}, overrides)
    config = presets.load(preset, overrides)
    if given.data is not None and mode == "separate":
        raise MssctlError("`data` does nothing in mode separate", exit_code=ExitCode.USAGE)
    if given.profile is not None:
        check_new(Path(given.profile))
    if given.memory is not None:
        _cap(given.memory, chosen)
    try:
        with work_of(mode, config, chosen, given.data, report) as work:
            return measure_steps(work, preset, chosen, given, report)
    except torch.OutOfMemoryError:
        raise MssctlError(
            f"{preset}, batch {config.training.batch_size}: memory ran out",
            hint=f"`mssctl plan {preset}` says what to change; a smaller `batch` needs less",
        ) from None


def _cap(memory: float, device: torch.device) -> None:
    """Let the process take ``memory`` GiB of a GPU."""
    if device.type != "cuda":
        raise MssctlError(
            f"`memory` caps a GPU, and this is {device.type}", exit_code=ExitCode.USAGE
        )
    if not memory > 0.0:
        raise MssctlError("`memory` is GiB above 0", exit_code=ExitCode.USAGE)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, memory * GIB / total), device)
