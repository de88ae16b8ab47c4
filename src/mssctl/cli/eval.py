"""``mssctl eval``: parse, separate and score the references, show the table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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

Metrics = Annotated[
    Literal["default", "bsseval"],
    typer.Option("--metrics", help="bsseval adds SDR, ISR, SIR and SAR as museval has them."),
]
Window = Annotated[float, typer.Option("--window", help="Seconds of a BSSEval frame.")]
Hop = Annotated[float, typer.Option("--hop", help="Seconds from one frame to the next.")]
Grid = Annotated[
    bool,
    typer.Option(
        "--round16/--no-round16",
        help="Round references to 16 bit for BSSEval, as published numbers are.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder for a JSON file per track and summary.json; goes on where it was interrupted.",
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
    metrics: Metrics = "default",
    window: Window = 1.0,
    hop: Hop = 1.0,
    round16: Grid = True,
    out: Out = None,
    json: Json = False,
) -> None:
    """Score a model on reference tracks.

    Each stem gets its SDR and SI-SDR, beside those of the unprocessed mixture.
    """
    with session(json=json) as ui:
        from mssctl.tasks.evaluate import Frames, evaluate

        ui.show(
            evaluate(
                name=name,
                reference=reference,
                device=device,
                dtype=dtype,
                segment=segment,
                overlap=overlap,
                batch=batch,
                metrics=metrics,
                frames=Frames(window, hop, round16),
                out=out,
                report=ui.report,
            )
        )
