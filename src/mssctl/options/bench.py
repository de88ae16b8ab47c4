"""The options of ``mssctl bench``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mssctl.config import bounds
from mssctl.options.base import Options, option
from mssctl.options.separate import device_option
from mssctl.options.train import overrides_option

Mode = Literal["train", "separate", "loader", "scan"]


@dataclass(frozen=True, kw_only=True)
class BenchOptions(Options):
    """What `mssctl.bench` measures. ``None`` is the preset's own setting, or a default."""

    mode: Mode = option(
        "train", "--mode", help="Training steps, separation, reading data, or BSMamba2's scan."
    )
    steps: int | None = option(
        None,
        "--steps",
        help="Steps to measure; 50 by default.",
        bounds=(1, bounds.STEPS[1]),
        metavar="N",
    )
    warmup: int | None = option(
        None,
        "--warmup",
        help="Warm-up steps before them; 3 by default.",
        bounds=(0, bounds.STEPS[1]),
        metavar="N",
    )
    device: str = device_option()
    batch: int | None = option(
        None,
        "--batch",
        help="Examples or segments at once; as in the preset by default.",
        bounds=bounds.BATCH,
    )
    overrides: Sequence[str] = overrides_option()
    data: Path | str | None = option(
        None,
        "--data",
        help="Songs to train on or to read; without, noise, or songs that are made up.",
        metavar="DIR",
    )
    memory: float | None = option(
        None,
        "--memory",
        help="Cap on GPU memory in GiB.",
        bounds=bounds.MEMORY_GIB,
        metavar="GIB",
    )
    profile: Path | str | None = option(
        None,
        "--profile",
        help="File for a trace of two more steps; also shows the longest operators.",
    )
