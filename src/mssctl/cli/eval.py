"""``mssctl eval``: score estimates against references, and compare the results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

import mssctl.cli.render_eval  # noqa: F401 (registers what the results look like)
from mssctl.cli.options import Batch, Device, Dtype, Json, Overlap, Segment
from mssctl.cli.session import session
from mssctl.config import bounds

DEFAULT = "score"


class ScoreByDefault(TyperGroup):
    """``mssctl eval DIR …`` is ``mssctl eval score DIR …``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name where it was left out."""
        if not args or args[0] not in {*self.commands, "-h", "--help"}:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


Estimates = Annotated[
    Path | None,
    typer.Argument(
        help="Folder of estimates: TRACK/STEM.wav, or below train and test as museval's.",
        metavar="[ESTIMATES]",
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", "-n", help="Score a model: bundled name or a .safetensors file.", metavar="NAME"
    ),
]
Oracle = Annotated[
    Literal["irm", "mixture"] | None,
    typer.Option("--oracle", help="Score the ideal ratio mask, or the mixture as every stem."),
]
Reference = Annotated[
    Path | None,
    typer.Option(
        "--reference",
        "-r",
        help="Folder of track folders, each with mixture and stems as wav or flac.",
        metavar="DIR",
    ),
]
Musdb = Annotated[
    Path | None,
    typer.Option("--musdb", help="MUSDB18 or MUSDB18-HQ as the reference.", metavar="DIR"),
]
Split = Annotated[
    Literal["test", "valid", "train"] | None,
    typer.Option("--split", help="Tracks of MUSDB18; test if left out."),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        help="More than sdr, si_sdr and csdr: bsseval (SDR, ISR, SIR, SAR as museval), l1_freq, "
        "lsd, bleedless, fullness or all; several with commas.",
        metavar="LIST",
    ),
]
Engine = Annotated[
    Literal["mssctl", "museval"],
    typer.Option("--engine", help="What computes BSSEval: the same numbers, museval slowly."),
]
Window = Annotated[
    float,
    typer.Option(
        "--window",
        help="Seconds of a frame.",
        min=bounds.FRAME_SECONDS[0],
        max=bounds.FRAME_SECONDS[1],
    ),
]
Hop = Annotated[
    float,
    typer.Option(
        "--hop",
        help="Seconds from one frame to the next.",
        min=bounds.FRAME_SECONDS[0],
        max=bounds.FRAME_SECONDS[1],
    ),
]
Grid = Annotated[
    bool,
    typer.Option(
        "--round16/--no-round16",
        help="Round references to 16 bit for BSSEval, as published numbers are.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=bounds.WORKERS[0],
        max=bounds.WORKERS[1],
        help="Tracks scored at once; one per two cores.",
    ),
]
Memory = Annotated[
    float | None,
    typer.Option(
        "--memory",
        help="GiB they may take; most of what is free.",
        min=bounds.MEMORY_GIB[0],
        max=bounds.MEMORY_GIB[1],
        metavar="GIB",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder for a JSON file per track and summaries; goes on where it was interrupted.",
        metavar="DIR",
    ),
]
KeepStems = Annotated[
    bool, typer.Option("--keep-stems", help="Keep what the model separates, below --out.")
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report", help="Page of tables, plots and sounds; needs --out.", metavar="FILE.html"
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Score a model on tracks it was trained on; marks the result."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace other results at --out and --report.")
]
PerTrack = Annotated[
    bool, typer.Option("--per-track", help="Show the scores of every track as well.")
]


def score_command(
    estimates: Estimates = None,
    name: Name = None,
    oracle: Oracle = None,
    reference: Reference = None,
    musdb: Musdb = None,
    split: Split = None,
    metrics: Metrics = None,
    window: Window = 1.0,
    hop: Hop = 1.0,
    round16: Grid = True,
    engine: Engine = "mssctl",
    out: Out = None,
    per_track: PerTrack = False,
    keep_stems: KeepStems = False,
    report: Report = None,
    jobs: Jobs = None,
    memory: Memory = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    segment: Segment = None,
    overlap: Overlap = None,
    batch: Batch = None,
    force: Force = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Score estimates, a model or an oracle; the word score can be left out.

    Each stem gets its SDR, SI-SDR and cSDR, beside those of the unprocessed mixture.
    """
    with session(json=json) as ui:
        from mssctl.api.evaluate import Frames, evaluate

        ui.show(
            evaluate(
                name=name,
                estimates=estimates,
                oracle=oracle,
                reference=reference,
                musdb=musdb,
                split=split,
                device=device,
                dtype=dtype,
                segment=segment,
                overlap=overlap,
                batch=batch,
                metrics=metrics or "default",
                engine=engine,
                frames=Frames(window, hop, round16),
                jobs=jobs,
                memory=memory,
                out=out,
                keep_stems=keep_stems,
                html=report,
                per_track=per_track,
                force=force,
                overwrite=overwrite,
                report=ui.report,
            )
        )


Results = Annotated[
    list[Path],
    typer.Argument(help="summary.json files of mssctl eval, or their folders.", metavar="A B..."),
]


def compare_command(results: Results, json: Json = False) -> None:
    """Differences of two or more results, track by track, each against the first."""
    with session(json=json) as ui:
        from mssctl.evaluation.compare import compare

        ui.show(compare(results))
