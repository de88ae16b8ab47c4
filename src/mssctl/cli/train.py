"""``mssctl train``: parse, train, show how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mssctl.cli.options import Device, Json, Overrides, Preset
from mssctl.cli.session import session

Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data", help="Folder or CSV of songs; repeatable; else $MUSDB_PATH.", metavar="PATH"
    ),
]
Layout = Annotated[
    Literal["auto", "musdb18", "musdb18hq", "stems", "samples", "csv"],
    typer.Option("--layout", help="How the folders are laid out."),
]
Valid = Annotated[
    Path | None,
    typer.Option("--valid", help="Folder of validation songs, never trained on.", metavar="PATH"),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder of the run; a new one if left out.", metavar="RUN"),
]
Force = Annotated[
    bool, typer.Option("--force", help="Start even if it will not fit the GPU's memory.")
]

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Do one step on the real data, write nothing.")
]


def command(
    preset: Preset,
    data: Data = None,
    layout: Layout = "auto",
    valid: Valid = None,
    out: Out = None,
    overrides: Overrides = None,
    device: Device = "auto",
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Train a separator from a preset.

    Ctrl-C saves a checkpoint and ends the run; `mssctl resume RUN` goes on from there.
    """
    with session(json=json, trains=True) as ui:
        from mssctl.api.train import train

        ui.show(
            train(
                preset,
                data=data or [],
                layout=layout,
                valid=valid,
                out=out,
                overrides=overrides or [],
                device=device,
                force=force,
                dry_run=dry_run,
                report=ui.report,
            )
        )
