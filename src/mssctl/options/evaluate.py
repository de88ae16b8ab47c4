"""The options of ``mssctl eval score``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mssctl.config import bounds
from mssctl.config.metrics import BSSEVAL, DEFAULT, FRAMEWISE, METRICS
from mssctl.options.base import Options, option
from mssctl.options.separate import (
    Dtype,
    batch_option,
    device_option,
    dtype_option,
    overlap_option,
    segment_option,
)
from mssctl.options.train import stem_map_option

Oracle = Literal["irm", "mixture"]
Engine = Literal["mssctl", "museval"]
Split = Literal["test", "valid", "train"]


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Options):
    """What `mssctl.evaluate` scores, against what, and how.

    One of ``estimates``, ``name`` and ``oracle`` says whose stems are scored (none: the model
    ``starter``), one of ``reference`` and ``musdb`` against which.
    """

    estimates: Path | str | None = option(
        None,
        help="Folder of estimates: TRACK/STEM.wav, or below train and test, as for museval.",
        metavar="[ESTIMATES]",
    )
    name: str | None = option(
        None,
        "--name",
        "-n",
        help="Score a model: bundled name or a .safetensors file.",
        metavar="NAME",
    )
    oracle: Oracle | None = option(
        None, "--oracle", help="Score the ideal ratio mask, or the mixture as every stem."
    )
    reference: Path | str | None = option(
        None,
        "--reference",
        "-r",
        help="Folder of track folders, each with mixture and stems as wav or flac.",
        metavar="DIR",
    )
    stem_map: Sequence[str | Path] = stem_map_option()
    musdb: Path | str | None = option(
        None, "--musdb", help="MUSDB18 or MUSDB18-HQ as the reference.", metavar="DIR"
    )
    split: Split | None = option(None, "--split", help="Tracks of MUSDB18; test if left out.")
    metrics: str | Sequence[str] = option(
        "default",
        "--metrics",
        help=f"Metrics besides {', '.join(DEFAULT)}: {BSSEVAL} ({', '.join(FRAMEWISE)}), "
        f"{', '.join(name for name in METRICS if name not in DEFAULT)} or all; several with "
        "commas.",
        metavar="LIST",
        repeatable=True,
    )
    window: float = option(1.0, "--window", help="Seconds of a frame.", bounds=bounds.FRAME_SECONDS)
    hop: float = option(
        1.0, "--hop", help="Seconds from one frame to the next.", bounds=bounds.FRAME_SECONDS
    )
    round16: bool = option(
        True,
        "--round16/--no-round16",
        help="Round references to 16 bit for BSSEval, as published numbers are.",
    )
    engine: Engine = option(
        "mssctl",
        "--engine",
        help="Program that computes BSSEval; museval gives the same numbers, slowly.",
    )
    out: Path | str | None = option(
        None,
        "--out",
        "-o",
        help="Folder for a JSON file per track and summaries; continues an interrupted evaluation.",
        metavar="DIR",
    )
    per_track: bool = option(False, "--per-track", help="Show the scores of every track as well.")
    keep_stems: bool = option(
        False, "--keep-stems", help="Keep what the model separates, below --out."
    )
    html: Path | str | None = option(
        None,
        "--report",
        help="Page of tables, plots and sounds; needs --out.",
        metavar="FILE.html",
    )
    jobs: int | None = option(
        None,
        "--jobs",
        "-j",
        help="Tracks scored in parallel; one per two cores by default.",
        bounds=bounds.WORKERS,
    )
    memory: float | None = option(
        None,
        "--memory",
        help="Memory for them in GiB; most of what is free by default.",
        bounds=bounds.MEMORY_GIB,
        metavar="GIB",
    )
    device: str = device_option()
    dtype: Dtype = dtype_option()
    segment: float | None = segment_option()
    overlap: float | None = overlap_option()
    batch: int | None = batch_option()
    force: bool = option(
        False,
        "--force",
        help="Score a model on tracks it was trained on; marks the result.",
    )
    overwrite: bool = option(
        False, "--overwrite", help="Replace other results at --out and --report."
    )
