"""``mssctl doctor``: is this machine fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import mssctl.cli.render_doctor  # noqa: F401 (registers what the result looks like)
from mssctl.cli.options import Json
from mssctl.cli.session import session

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of training data [default: MUSDB_PATH].", metavar="PATH"),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="Folder that results will go to.", metavar="PATH")
]
RequireGpu = Annotated[
    bool,
    typer.Option("--require-gpu", help="Without a usable GPU the machine is not fit (exit 3)."),
]


def command(
    data: Data = None, out: Out = Path(), require_gpu: RequireGpu = False, json: Json = False
) -> None:
    """Check that this machine is fit, and say what to do where it is not.

    -v shows the details. Exits with 3 when a check has failed or crashed.
    """
    with session(json=json) as ui:
        from mssctl.api.doctor import doctor

        ui.show(doctor(data=data, out=out, require_gpu=require_gpu, report=ui.report))
