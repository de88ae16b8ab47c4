"""The options of ``mssctl data check`` and ``mssctl data synth``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mssctl.config import bounds
from mssctl.options.base import Options, option
from mssctl.options.train import Layout, layout_option, stem_map_option


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Options):
    """What `mssctl.api.data.check` looks for."""

    layout: Layout = layout_option()
    stems: Sequence[str] = option(
        ("vocals", "drums", "bass", "other"),
        "--stems",
        help="Stems to look for, with commas.",
        metavar="A,B",
        commas=True,
    )
    stem_map: Sequence[str | Path] = stem_map_option()
    sample_rate: int | None = option(
        None,
        "--sample-rate",
        help="Hz that all should have; else what most have.",
        bounds=bounds.SAMPLE_RATE,
    )


@dataclass(frozen=True, kw_only=True)
class SynthOptions(Options):
    """What `mssctl.api.data.synth` makes."""

    hours: float = option(
        1.0, "--hours", help="Length of all songs together.", bounds=bounds.HOURS, required=True
    )
    samples: Path | None = option(
        None, "--samples", help="Folder of samples; without it, oscillators.", metavar="DIR"
    )
    seed: int = option(0, "--seed", help="The same seed makes the same songs.", bounds=bounds.SEED)
    song_seconds: float = option(
        40.0, "--song-seconds", help="Length of each song.", bounds=bounds.SONG_SECONDS
    )
    valid_fraction: float = option(
        0.1,
        "--valid-fraction",
        help="Share of the songs kept for validation.",
        bounds=(0.0, 0.99),
    )
    varied: bool = option(
        False,
        "--varied",
        help="Voices that never repeat, other arrangements and louder masters; needs pyworld.",
    )
    workers: int | None = option(
        None,
        "--workers",
        help="Processes; one per CPU core if left out.",
        bounds=bounds.WORKERS,
    )
