"""``mssctl data``: training material."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mssctl.cli.arguments import listed
from mssctl.cli.options import Json
from mssctl.cli.session import session
from mssctl.config import bounds

Out = Annotated[Path, typer.Argument(help="Folder to write the songs to.", metavar="OUT")]
Hours = Annotated[
    float,
    typer.Option(
        "--hours",
        help="Length of all songs together.",
        min=bounds.HOURS[0],
        max=bounds.HOURS[1],
    ),
]
Samples = Annotated[
    Path | None,
    typer.Option("--samples", help="Folder of samples; without it, oscillators.", metavar="DIR"),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        help="The same seed makes the same songs.",
        min=bounds.SEED[0],
        max=bounds.SEED[1],
    ),
]
SongSeconds = Annotated[
    float,
    typer.Option(
        "--song-seconds",
        help="Length of each song.",
        min=bounds.SONG_SECONDS[0],
        max=bounds.SONG_SECONDS[1],
    ),
]
ValidFraction = Annotated[
    float,
    typer.Option(
        "--valid-fraction", help="Share of the songs kept for validation.", min=0.0, max=0.99
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=bounds.WORKERS[0],
        max=bounds.WORKERS[1],
        help="Processes; one per CPU core if left out.",
    ),
]

Folders = Annotated[
    list[Path], typer.Argument(help="Data folders or CSV files.", metavar="FOLDER...")
]
Layout = Annotated[
    Literal["auto", "musdb18", "musdb18hq", "stems", "samples", "csv"],
    typer.Option("--layout", help="How the folders are laid out."),
]
Stems = Annotated[
    str, typer.Option("--stems", help="Stems to look for, with commas.", metavar="A,B")
]
SampleRate = Annotated[
    int | None,
    typer.Option(
        "--sample-rate",
        help="Hz that all should have; else what most have.",
        min=bounds.SAMPLE_RATE[0],
        max=bounds.SAMPLE_RATE[1],
    ),
]


def check_command(
    folders: Folders,
    layout: Layout = "auto",
    stems: Stems = "vocals,drums,bass,other",
    sample_rate: SampleRate = None,
    json: Json = False,
) -> None:
    """Read training data to the end and say what is wrong with it.

    Exit code 1 for what training refuses or must not get: unreadable files, other sample rates,
    the same audio in two splits. Anything else found is shown, with exit code 0.
    """
    with session(json=json) as ui:
        from mssctl.api.check import check

        ui.show(
            check(
                folders,
                layout=layout,
                stems=listed("--stems", stems),
                sample_rate=sample_rate,
                report=ui.report,
            )
        )


def synth_command(
    out: Out,
    hours: Hours,
    samples: Samples = None,
    seed: Seed = 0,
    song_seconds: SongSeconds = 40.0,
    valid_fraction: ValidFraction = 0.1,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Make multitrack songs: vocals, drums, bass, other and their sum."""
    with session(json=json) as ui:
        from mssctl.api.synth import synth

        ui.show(
            synth(
                out,
                hours=hours,
                samples=samples,
                seed=seed,
                song_seconds=song_seconds,
                valid_fraction=valid_fraction,
                workers=workers,
                report=ui.report,
            )
        )
