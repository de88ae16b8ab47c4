"""``mssctl eval``: parse, separate and score the references, show the table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.options import Batch, Device, Dtype, Json, Name, Overlap, Segment
from mssctl.cli.session import session

Reference = Annotated[
    Path,
    typer.Option(
        "--reference",
        help="Folder of track folders, each with mixture and stems as wav or flac.",
        metavar="DIR",
    ),
]


def command(
    reference: Reference,
    name: Name = "starter",
    device: Device = "auto",
    dtype: Dtype = "auto",
    segment: Segment = None,
    overlap: Overlap = None,
    batch: Batch = None,
    json: Json = False,
) -> None:
    """Score a model on reference tracks.

    Each stem gets its SDR and SI-SDR, beside those of the unprocessed mixture.
    """
    with session(json=json) as ui:
        from mssctl.tasks.evaluate import evaluate

        ui.show(
            evaluate(
                name=name,
                reference=reference,
                device=device,
                dtype=dtype,
                segment=segment,
                overlap=overlap,
                batch=batch,
                report=ui.report,
            )
        )
