"""Makes training material: songs with known stems, from samples or from nothing."""

from __future__ import annotations

import os
from pathlib import Path

from mssctl.events import Reporter, silent
from mssctl.files import storage_error
from mssctl.results.data import SynthResult
from mssctl.synth.generate import synthesize


def synth(
    out: Path,
    *,
    hours: float,
    samples: Path | None = None,
    seed: int = 0,
    song_seconds: float = 40.0,
    valid_fraction: float = 0.1,
    workers: int | None = None,
    report: Reporter = silent,
) -> SynthResult:
    """Write generated multitrack songs; see `mssctl.synth.generate.synthesize`.

    Args:
        out: folder to create.
        hours: length of all songs together.
        samples: folder of sample material; None makes all sounds from oscillators and noise.
        seed: the same seed makes the same songs, whatever ``workers`` is.
        song_seconds: length of each song.
        valid_fraction: share of the songs kept for validation.
        workers: processes; None takes one per CPU core.
        report: is told how many songs exist.

    Raises:
        MssctlError: a value makes no sense, no samples, ``out`` holds something else or cannot be
            written.
    """
    try:
        return synthesize(
            out,
            samples=samples,
            hours=hours,
            seed=seed,
            song_seconds=song_seconds,
            valid_fraction=valid_fraction,
            workers=(os.cpu_count() or 1) if workers is None else workers,
            report=report,
        )
    except OSError as error:  # inside, what concerns a sample is told apart
        raise storage_error(out, error) from None
