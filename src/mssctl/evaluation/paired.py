"""Differences of two programs on the same tracks, and how sure their mean is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000
_SEED = 0


def interval(differences: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over tracks.

    Tracks are drawn with replacement `RESAMPLES` times, from a fixed seed. With a handful of
    tracks it is too narrow; with one it has no width. Source: Efron and Tibshirani, "An
    Introduction to the Bootstrap" (1993), chapter 13.

    Args:
        differences: one per track, at least one.
        level: of the interval.
    """
    values = np.asarray(differences, np.float64)
    rng = np.random.default_rng(_SEED)
    picks = rng.integers(len(values), size=(RESAMPLES, len(values)))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(values[picks].mean(axis=1), (tail, 1.0 - tail))
    return float(low), float(high)
