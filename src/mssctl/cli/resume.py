"""``mssctl resume``: continue a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.options import Device, Json, Overrides, Run
from mssctl.cli.session import session
from mssctl.cli.train import Force

Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data", help="Where a data folder was moved; once for each, in order.", metavar="PATH"
    ),
]
Valid = Annotated[
    Path | None,
    typer.Option("--valid", help="Where the validation songs were moved.", metavar="PATH"),
]


def command(
    run: Run,
    data: Data = None,
    valid: Valid = None,
    overrides: Overrides = None,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
) -> None:
    """Continue a training run exactly where it stopped.

    --set changes what leaves the model and its examples as they are; --data and --valid say where
    its songs are now.
    """
    with session(json=json, trains=True) as ui:
        from mssctl.api.train import resume

        ui.show(
            resume(
                run,
                data=data or [],
                valid=valid,
                overrides=overrides or [],
                device=device,
                force=force,
                report=ui.report,
            )
        )
