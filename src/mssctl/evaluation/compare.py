"""``mssctl eval compare``: results of the same tracks beside each other."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mssctl.config.metrics import metric_of
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.documents import SUMMARY
from mssctl.evaluation.summary import numbers_of, read_summary
from mssctl.results.evaluate import ComparedResult, EvalComparison, PairedDifference

RESAMPLES = 10_000
_SEED = 0
_MUST_AGREE = ("metrics", "frames", "bsseval", "gain", "musdb")


def compare(results: Sequence[Path | str]) -> EvalComparison:
    """Each result less the first, per stem and metric, over the tracks that both have.

    Args:
        results: two or more ``summary.json`` files, or the folders that hold them.

    Raises:
        MssctlError: fewer than two (exit 2); a file that is no such summary, other definitions, or
            no track in common (exit 4).
    """
    if len(results) < 2:
        raise MssctlError("eval compare needs two results or more", exit_code=ExitCode.USAGE)
    paths = [path / SUMMARY if path.is_dir() else path for path in map(Path, results)]
    first, *others = [read_summary(path) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        _refuse_unlike(paths[0], first, path, other)
    names = _names(paths, [first, *others])
    return EvalComparison(
        first=names[0],
        others=[
            _compared(name, path, first, other)
            for name, path, other in zip(names[1:], paths[1:], others, strict=True)
        ],
        definitions=first["definitions"],
        resamples=RESAMPLES,
    )


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
    picks = np.random.default_rng(_SEED).integers(len(values), size=(RESAMPLES, len(values)))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(values[picks].mean(axis=1), (tail, 1.0 - tail))
    return float(low), float(high)


def _compared(
    name: str, path: Path, first: dict[str, Any], other: dict[str, Any]
) -> ComparedResult:
    base, numbers = numbers_of(first), numbers_of(other)
    unlike = _scored_with_others(first, other)
    differences, left_out = [], []
    for (stem, metric), found in numbers.items():
        ours = base.get((stem, metric), {})
        tracks = [track for track in found if track in ours]
        if metric_of(metric).needs_all_stems and unlike.intersection(tracks):
            left_out.append(f"{stem}: {metric}: scored together with other stems")
        elif tracks:
            pairs = [(found[track], ours[track]) for track in tracks]
            differences.append(_difference(stem, metric, pairs))
    if not differences:
        raise MssctlError(f"{path}: no track and stem in common with the first result")
    here, there = ({track for one in table.values() for track in one} for table in (numbers, base))
    return ComparedResult(name, differences, left_out, sorted(here - there), sorted(there - here))


def _difference(stem: str, metric: str, pairs: Sequence[tuple[float, float]]) -> PairedDifference:
    less = [new - old for new, old in pairs]
    low, high = interval(less)
    return PairedDifference(
        stem=stem,
        metric=metric,
        mean=statistics.fmean(less),
        median=statistics.median(less),
        low=low,
        high=high,
        wins=sum(metric_of(metric).sign * value > 0.0 for value in less),
        tracks=len(less),
    )


def _scored_with_others(first: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Tracks of both whose stems are not the same: frames that count, SIR and SAR depend on it."""
    one, two = (result["provenance"]["scored_together"] for result in (first, other))
    return {track for track in one if track in two and set(one[track]) != set(two[track])}


def _refuse_unlike(a: Path, first: dict[str, Any], b: Path, other: dict[str, Any]) -> None:
    """Numbers of other definitions, or about other references, are no comparison."""
    reasons: list[str] = []
    for key in _MUST_AGREE:
        one, two = first["provenance"].get(key), other["provenance"].get(key)
        if isinstance(one, dict) and isinstance(two, dict) and one and two:
            inner = [k for k in {**one, **two} if one.get(k) != two.get(k)]
            reasons += [f"{key} {k}: {one.get(k)} against {two.get(k)}" for k in inner]
        elif one != two:
            reasons.append(f"{key}: {one or 'none'} against {two or 'none'}")
    true, same = (result["provenance"]["references_sha256"] for result in (first, other))
    for track in sorted(true.keys() & same.keys()):
        stems = true[track].keys() & same[track].keys()
        if any(true[track][stem] != same[track][stem] for stem in stems):
            reasons.append(f"{track}: other references")
    if reasons:
        raise MssctlError(
            f"{a} and {b} are not comparable: {'; '.join(reasons)}",
            hint="evaluate both with the same --metrics, --window, --hop and references",
        )


def _names(paths: Sequence[Path], results: Sequence[dict[str, Any]]) -> list[str]:
    """The models' names, or where two are alike, with their files."""
    names = [str(result["model"]) for result in results]
    return [
        name if names.count(name) == 1 else f"{name} ({path})"
        for name, path in zip(names, paths, strict=True)
    ]
