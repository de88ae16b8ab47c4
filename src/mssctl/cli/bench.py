"""``mssctl bench``: how fast this machine is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import mssctl.cli.render_bench  # noqa: F401 (registers what the results look like)
from mssctl.cli.arguments import refuse_shortcut
from mssctl.cli.options import Device, Json, Overrides
from mssctl.cli.session import session
from mssctl.config import bounds
from mssctl.errors import ExitCode, MssctlError

Preset = Annotated[
    str | None,
    typer.Argument(
        help="Bundled preset, or path of a YAML file; base on a GPU, starter elsewhere.",
        metavar="[PRESET]",
    ),
]
Mode = Annotated[
    Literal["train", "separate", "loader", "scan"],
    typer.Option("--mode", help="Training steps, separation, reading data, or BSMamba2's scan."),
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", help="Steps to measure; 50.", min=1, max=bounds.STEPS[1], metavar="N"),
]
Warmup = Annotated[
    int | None,
    typer.Option("--warmup", help="Steps before them; 3.", min=0, max=bounds.STEPS[1], metavar="N"),
]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        help="Examples or segments at once; as in the preset.",
        min=bounds.BATCH[0],
        max=bounds.BATCH[1],
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Songs to train on or to read; without, noise, or songs that are made up.",
        metavar="DIR",
    ),
]
Memory = Annotated[
    float | None,
    typer.Option(
        "--memory",
        help="GiB that may be taken of the GPU's.",
        min=bounds.MEMORY_GIB[0],
        max=bounds.MEMORY_GIB[1],
        metavar="GIB",
    ),
]
Profile = Annotated[
    Path | None,
    typer.Option("--profile", help="Trace of two more steps, and the longest operators."),
]
Compare = Annotated[
    tuple[Path, Path] | None,
    typer.Option("--compare", help="Set two --json results beside each other; runs nothing."),
]


def command(
    preset: Preset = None,
    mode: Mode = "train",
    steps: Steps = None,
    warmup: Warmup = None,
    device: Device = "auto",
    batch: Batch = None,
    overrides: Overrides = None,
    data: Data = None,
    memory: Memory = None,
    profile: Profile = None,
    compare: Compare = None,
    json: Json = False,
) -> None:
    """Measure how fast this machine trains, separates or reads, with the trainer's own step."""
    with session(json=json) as ui:
        if compare is not None:
            _refuse("--compare", steps, warmup, overrides, data, memory, profile)
            from mssctl.benchmark.compare import compare as set_beside

            ui.show(set_beside(*compare))
        elif mode == "scan":
            _refuse("--mode scan", steps, warmup, overrides, data, memory, profile)
            from mssctl.benchmark.scan import bench_scan

            chosen = preset or "bsmamba2"
            ui.show(bench_scan(chosen, device=device, batch=batch or 1, report=ui.report))
        else:
            if batch is not None:
                section = "separation" if mode == "separate" else "training"
                refuse_shortcut({f"{section}.batch_size": "--batch"}, overrides or [])

            from mssctl.api.bench import bench

            ui.show(
                bench(
                    preset,
                    mode=mode,
                    steps=50 if steps is None else steps,
                    warmup=3 if warmup is None else warmup,
                    device=device,
                    batch=batch,
                    overrides=overrides or (),
                    data=data,
                    memory=memory,
                    profile=profile,
                    report=ui.report,
                )
            )


def _refuse(way: str, *given: object) -> None:
    """No silent setting."""
    names = ("--steps", "--warmup", "--set", "--data", "--memory", "--profile")
    for name, value in zip(names, given, strict=True):
        if value not in (None, []):
            raise MssctlError(f"{name} does nothing with {way}", exit_code=ExitCode.USAGE)
