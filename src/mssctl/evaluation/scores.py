"""Scores of the stems of a track, and their means over tracks and stems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from mssctl.errors import MssctlError
from mssctl.evaluation.sdr import METRICS, Array, is_silent
from mssctl.results import Score, StemScore

MEAN = "mean"  # the row over all stems, beside the stems' names


def score_track(
    track: str,
    references: Mapping[str, Array],
    estimates: Mapping[str, Array],
    mixture: Array,
) -> tuple[list[StemScore], list[str]]:
    """Score each estimate, and the mixture in its place, against its reference.

    Args:
        track: name for messages and results.
        references: stem -> true audio ``(C, N)``.
        estimates: stem -> separated audio ``(C, N)``; its order is that of the scores.
        mixture: the unprocessed song ``(C, N)``, the baseline.

    Returns:
        The scores, and the stems left out, each with its reason: no reference, or a silent one.

    Raises:
        MssctlError: audio of unequal shape, or with NaN or infinite samples.
    """
    scores: list[StemScore] = []
    skipped: list[str] = []
    for stem, estimate in estimates.items():
        if stem not in references:
            skipped.append(f"{track}: {stem}: no reference file")
            continue
        reference = references[stem]
        if is_silent(reference):
            skipped.append(f"{track}: {stem}: the reference is silent")
            continue
        try:
            metrics = {
                name: score(metric(reference, estimate), metric(reference, mixture))
                for name, metric in METRICS.items()
            }
        except ValueError as error:
            raise MssctlError(f"{track}: {stem}: {error}") from None
        scores.append(StemScore(track=track, stem=stem, metrics=metrics))
    return scores, skipped


def score(estimate: float, mixture: float) -> Score:
    """A score with its improvement over the mixture."""
    return Score(estimate=estimate, mixture=mixture, improvement=estimate - mixture)


def means(scores: Sequence[StemScore], stems: Sequence[str]) -> dict[str, dict[str, Score]]:
    """Mean over tracks for each stem, and under ``mean`` the mean of the stems' means.

    So each stem weighs the same in ``mean``, however many tracks have it.

    Args:
        scores: at least one.
        stems: the order of the rows; a stem without scores has none.

    Returns:
        stem or ``mean`` -> metric -> mean.
    """
    table: dict[str, dict[str, Score]] = {}
    for stem in counts(scores, stems):
        table[stem] = _mean([item.metrics for item in scores if item.stem == stem])
    table[MEAN] = _mean(list(table.values()))
    return table


def counts(scores: Sequence[StemScore], stems: Sequence[str]) -> dict[str, int]:
    """Stem -> number of tracks it was scored on, without those of none."""
    numbers = {stem: sum(item.stem == stem for item in scores) for stem in stems}
    return {stem: number for stem, number in numbers.items() if number}


def _mean(rows: Sequence[Mapping[str, Score]]) -> dict[str, Score]:
    return {
        name: score(
            fmean(row[name].estimate for row in rows), fmean(row[name].mixture for row in rows)
        )
        for name in rows[0]
    }
