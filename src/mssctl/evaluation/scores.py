"""Scores of the stems of a track, and their means over tracks and stems."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from mssctl.config.metrics import CSDR, DEFAULT, METRICS, metric_of
from mssctl.errors import MssctlError
from mssctl.evaluation.bsseval import framewise_sdr
from mssctl.evaluation.metrics import compute
from mssctl.evaluation.metrics.sdr import SI_SDR_LIMIT, Array, is_silent
from mssctl.results.evaluate import Score, StemScore

MEAN = "mean"  # the row over all stems, beside the stems' names


def score_track(
    track: str,
    references: Mapping[str, Array],
    estimates: Mapping[str, Array],
    mixture: Array | None,
    *,
    rate: int = 44_100,
    metrics: Sequence[str] = DEFAULT,
    frames: tuple[float, float] = (1.0, 1.0),
    apart: Collection[str] = (),
) -> tuple[list[StemScore], list[str]]:
    """Score each estimate, and the mixture in its place, against its reference.

    Args:
        track: name for messages and results.
        references: stem -> true audio ``(C, N)``.
        estimates: stem -> separated audio ``(C, N)``; its order is that of the scores.
        mixture: the unprocessed song ``(C, N)``, the baseline; None where there is none.
        rate: samples per second.
        metrics: names in `mssctl.config.metrics.METRICS`.
        frames: seconds of a frame of cSDR, and from one to the next.
        apart: stems that are no sources beside the others, such as their sum: they have no cSDR.

    Returns:
        The scores, and the stems left out, each with its reason: no reference, or a silent one.

    Raises:
        MssctlError: audio of unequal shape, or with NaN or infinite samples.
    """
    skipped: list[str] = []
    scored: list[str] = []
    for stem in estimates:
        if stem not in references:
            skipped.append(f"{track}: {stem}: no reference file")
        elif is_silent(references[stem]):
            skipped.append(f"{track}: {stem}: the reference is silent")
        else:
            scored.append(stem)
    numbers: dict[str, dict[str, Score]] = {}
    for stem in scored:
        try:
            numbers[stem] = _plain(references[stem], estimates[stem], mixture, rate, metrics)
        except ValueError as error:
            raise MssctlError(f"{track}: {stem}: {error}") from None
    together = [stem for stem in scored if stem not in apart]
    if CSDR in metrics and together:
        true = {stem: references[stem] for stem in together}
        own = csdr(true, estimates, rate, *frames)
        base = (
            csdr(true, dict.fromkeys(together, mixture), rate, *frames)
            if mixture is not None
            else {}
        )
        for stem, value in own.items():
            numbers[stem][CSDR] = score(value, base.get(stem))
        skipped += [
            f"{track}: {stem}: no frame in which all stems sound: no cSDR"
            for stem in together
            if stem not in own
        ]
    return [StemScore(track, stem, numbers[stem]) for stem in scored], skipped


def _plain(
    reference: Array, estimate: Array, mixture: Array | None, rate: int, metrics: Sequence[str]
) -> dict[str, Score]:
    """Metrics that need one stem only."""
    found: dict[str, Score] = {}
    for name in metrics:
        metric = METRICS[name]
        if not metric.needs_all_stems:
            base = None if mixture is None else compute(metric, reference, mixture, rate)
            found[name] = score(compute(metric, reference, estimate, rate), base)
    return found


def csdr(
    references: Mapping[str, Array],
    estimates: Mapping[str, Array],
    rate: int,
    window: float = 1.0,
    hop: float = 1.0,
) -> dict[str, float]:
    """Median over frames of each stem's SDR, dB: museval v4's, limited to +-100 dB.

    Frames in which any reference or estimate is silent are left out for all stems.

    Args:
        references: stem -> true audio ``(C, N)``; they are scored together.
        estimates: stem -> separated audio ``(C, N)``.
        rate: samples per second.
        window: seconds of a frame.
        hop: seconds from one frame to the next.

    Returns:
        Stem -> dB; empty if no frame is left.
    """
    true, found = (
        np.stack([np.asarray(audio[stem]).T for stem in references])
        for audio in (references, estimates)
    )  # (S, N, C)
    frames = framewise_sdr(true, found, window=window * rate, hop=hop * rate)
    frames = np.clip(frames[:, ~np.isnan(frames).any(axis=0)], -SI_SDR_LIMIT, SI_SDR_LIMIT)
    if not frames.size:
        return {}
    return dict(zip(references, np.median(frames, axis=1).tolist(), strict=True))


def score(estimate: float, mixture: float | None) -> Score:
    """A score with its improvement over the mixture, where there is one."""
    improvement = None if mixture is None else estimate - mixture
    return Score(estimate=estimate, mixture=mixture, improvement=improvement)


def means(
    scores: Sequence[StemScore], stems: Sequence[str], apart: Collection[str] = ()
) -> dict[str, dict[str, Score]]:
    """Mean over tracks for each stem, and under ``mean`` the mean of the stems' numbers.

    So each stem weighs the same in ``mean``, however many tracks have it. Metrics that are defined
    as medians over tracks (cSDR) are those.

    Args:
        scores: at least one.
        stems: the order of the rows; a stem without scores has none.
        apart: stems that ``mean`` leaves out, such as the sum of others.

    Returns:
        stem or ``mean`` -> metric -> mean.
    """
    table: dict[str, dict[str, Score]] = {}
    for stem in counts(scores, stems):
        rows = [item.metrics for item in scores if item.stem == stem]
        names = dict.fromkeys(name for row in rows for name in row)
        table[stem] = {
            name: _over([row[name] for row in rows if name in row], median=metric_of(name).median)
            for name in names
        }
    rows_of_stems = [row for stem, row in table.items() if stem not in apart]
    names = dict.fromkeys(name for row in rows_of_stems for name in row)
    table[MEAN] = {
        name: _over([row[name] for row in rows_of_stems if name in row], median=False)
        for name in names
    }
    return table


def counts(scores: Sequence[StemScore], stems: Sequence[str]) -> dict[str, int]:
    """Stem -> number of tracks it was scored on, without those of none."""
    numbers = {stem: sum(item.stem == stem for item in scores) for stem in stems}
    return {stem: number for stem, number in numbers.items() if number}


def _over(scores: Sequence[Score], *, median: bool) -> Score:
    middle = statistics.median if median else statistics.fmean
    base = [item.mixture for item in scores if item.mixture is not None]
    return score(
        middle(item.estimate for item in scores), middle(base) if len(base) == len(scores) else None
    )
