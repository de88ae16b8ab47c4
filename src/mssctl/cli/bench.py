"""``mssctl bench``: how fast this machine is."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

import mssctl.cli.render_bench  # noqa: F401 (registers what the results look like)
from mssctl.cli.arguments import refuse_shortcut
from mssctl.cli.command import command
from mssctl.cli.session import Session
from mssctl.errors import ExitCode, MssctlError
from mssctl.options.bench import BenchOptions

Preset = Annotated[
    str | None,
    typer.Argument(
        help="Bundled preset, or path of a YAML file; base on a GPU, starter elsewhere.",
        metavar="[PRESET]",
    ),
]
Compare = Annotated[
    tuple[Path, Path] | None,
    typer.Option("--compare", help="Set two --json results beside each other; runs nothing."),
]


@command(BenchOptions)
def bench_command(
    ui: Session, options: BenchOptions, *, preset: Preset = None, compare: Compare = None
) -> None:
    """Measure how fast this machine trains, separates or reads, with the trainer's own step."""
    if compare is not None:
        _refuse("--compare", options)
        from mssctl.benchmark.compare import compare as set_beside

        ui.show(set_beside(*compare))
    elif options.mode == "scan":
        _refuse("--mode scan", options)
        from mssctl.benchmark.scan import bench_scan

        chosen, batch = preset or "bsmamba2", options.batch or 1
        ui.show(bench_scan(chosen, device=options.device, batch=batch, report=ui.report))
    else:
        if options.batch is not None:
            section = "separation" if options.mode == "separate" else "training"
            refuse_shortcut({f"{section}.batch_size": "--batch"}, options.overrides)
        from mssctl.api.bench import bench

        ui.show(bench(preset, options, report=ui.report))


def _refuse(way: str, options: BenchOptions) -> None:
    """No silent setting."""
    for one in fields(options):
        if one.name in ("mode", "device", "batch"):
            continue
        if getattr(options, one.name) != one.default:
            raise MssctlError(f"`{one.name}` does nothing with {way}", exit_code=ExitCode.USAGE)
