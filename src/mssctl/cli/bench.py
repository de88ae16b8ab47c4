"""``mssctl bench``: how fast this machine is."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mssctl.cli.options import Device, Json, Preset
from mssctl.cli.session import session

Mode = Annotated[
    Literal["train", "separate", "scan"],
    typer.Option("--mode", help="What to measure; only scan is available yet."),
]
Batch = Annotated[
    int, typer.Option("--batch", help="Sequences at once, in mode scan.", min=1, metavar="N")
]


def command(
    preset: Preset = "base",
    mode: Mode = "train",
    device: Device = "auto",
    batch: Batch = 1,
    json: Json = False,
) -> None:
    """Measure the speed of a preset on this machine (mode scan; the others: not available yet)."""
    with session(json=json) as ui:
        from mssctl.tasks.bench import bench

        ui.show(bench(preset, mode=mode, device=device, batch=batch, report=ui.report))
