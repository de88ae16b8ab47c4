"""BSSEval of one track as a document in museval's form, and its summary over tracks.

A track's document has ``targets``: per stem a name and its frames, each with ``time``,
``duration`` and ``metrics``, as museval writes them; a frame that is not defined is null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mssctl.evaluation.bsseval import METRICS, TAPS, bsseval
from mssctl.evaluation.sdr import Array
from mssctl.results import Spread

GRID = 32_768  # steps of 16-bit audio

DEFINITION = {
    "metric": "BSSEval v4",
    "numbers_of": "museval 0.4.1",
    "aggregation": "median over frames, then median over tracks",
    "silent_frames": "a frame with any silent reference or estimate is left out for every stem",
}


def passport(window: float, hop: float, grid16: bool) -> dict[str, Any]:
    """What the scores depend on beside the audio.

    Args:
        window: seconds.
        hop: seconds.
        grid16: references are rounded to 16 bit first.
    """
    rounding = "rounded to 16 bit" if grid16 else "as in the files"
    own = {"filter_taps": TAPS, "window_seconds": window, "hop_seconds": hop}
    return {**DEFINITION, **own, "references": rounding, "gain": "estimates as they are"}


def score_frames(
    references: Mapping[str, Array],
    estimates: Mapping[str, Array],
    *,
    rate: int,
    window: float,
    hop: float,
    grid16: bool,
) -> dict[str, Any]:
    """Score the stems of a track together.

    Args:
        references: stem -> true audio ``(C, N)``, none silent.
        estimates: stem -> separated audio; those of ``references`` are used.
        rate: samples per second.
        window: seconds.
        hop: seconds.
        grid16: round the references to the 16-bit grid, on which published numbers are.

    Returns:
        ``targets`` in museval's form, and how far they can be trusted.

    Raises:
        ValueError: see `bsseval`.
    """
    stems = list(references)
    s = np.stack([np.asarray(references[stem], np.float64).T for stem in stems])  # (S, N, C)
    e = np.stack([np.asarray(estimates[stem], np.float64).T for stem in stems])
    if grid16:
        s = np.round(s * GRID) / GRID
    found = bsseval(s, e, window=window * rate, hop=hop * rate)
    values = dict(zip(METRICS, (found.sdr, found.isr, found.sir, found.sar), strict=True))
    targets = [
        {
            "name": stem,
            "frames": [
                {
                    "time": t * hop,
                    "duration": window,
                    "metrics": {name: _plain(row[j, t]) for name, row in values.items()},
                }
                for t in range(found.sdr.shape[1])
            ],
        }
        for j, stem in enumerate(stems)
    ]
    return {
        "targets": targets,
        "target_set": stems,
        "silent_frames": [t for t in range(found.sdr.shape[1]) if np.isnan(found.sdr[0, t])],
        "condition": _plain(found.condition),
        "ill_conditioned": found.ill_conditioned,
        "solver": found.solver,
        "dropped_channels": found.dropped,
    }


def spreads(documents: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Spread]]:
    """Stem -> metric -> distribution over tracks of the medians over frames."""
    medians: dict[str, dict[str, list[float]]] = {}
    frames: dict[str, int] = {}
    for document in documents:
        for target in document["targets"]:
            stem = target["name"]
            rows = [frame["metrics"] for frame in target["frames"]]
            for name in METRICS:
                values = [row[name] for row in rows if row[name] is not None]
                if values:
                    own = medians.setdefault(stem, {}).setdefault(name, [])
                    own.append(float(np.median(values)))
            frames[stem] = frames.get(stem, 0) + sum(row["SDR"] is not None for row in rows)
    return {
        stem: {name: _spread(values, frames[stem]) for name, values in table.items()}
        for stem, table in medians.items()
    }


def _spread(values: Sequence[float], frames: int) -> Spread:
    low, middle, high = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    return Spread(middle, float(np.mean(values)), low, high, len(values), frames)


def _plain(value: float) -> float | None:
    """A number that JSON has; museval too writes null for what is not finite."""
    return float(value) if math.isfinite(value) else None
