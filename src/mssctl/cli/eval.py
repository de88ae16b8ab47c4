"""``mssctl eval``: score estimates against references, and compare the results."""

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.options import Json
from mssctl.cli.render import aligned, count
from mssctl.cli.session import Session, session
from mssctl.options.evaluate import EvaluateOptions
from mssctl.results.evaluate import EvalComparison, EvalResult, Score


@command(EvaluateOptions)
def score_command(ui: Session, options: EvaluateOptions) -> None:
    """Score estimates, a model or an oracle; the word score can be left out.

    Each stem gets its SDR, SI-SDR and cSDR, beside those of the unprocessed mixture.
    """
    from mssctl.api.evaluate import evaluate

    ui.show(evaluate(options, report=ui.report), scores_text)


Results = Annotated[
    list[Path],
    typer.Argument(help="summary.json files of mssctl eval, or their folders.", metavar="A B..."),
]


def compare_command(results: Results, json: Json = False) -> None:
    """Differences of two or more results, track by track, each against the first."""
    with session(json=json) as ui:
        from mssctl.evaluation.compare import compare

        ui.show(compare(results), comparison_text)


def scores_text(result: EvalResult) -> str:
    """Means over tracks, and what they are."""
    lines = [
        *(f"MARKED: {mark}" for mark in result.marks),
        f"{result.model} on {result.reference}: over {count(result.tracks, 'track')}",
        _means(result),
        *_per_track(result),
        *_bsseval(result),
        *(f"{name}: {meaning}" for name, meaning in result.definitions.items()),
        *(f"skipped: {reason}" for reason in result.skipped),
        *(f"note: {note}" for note in result.notes),
    ]
    return "".join(f"{line}\n" for line in lines)


def _means(result: EvalResult) -> str:
    metrics = list(result.definitions)
    head = ["stem", "tracks"]
    for name in metrics:
        head += [name, "of mixture", "gain"]
    rows = [
        [stem, str(result.counts.get(stem, "")), *_cells([row.get(name) for name in metrics])]
        for stem, row in result.means.items()
    ]
    return aligned(head, rows, numbers=True).rstrip("\n")


def _per_track(result: EvalResult) -> list[str]:
    if not result.per_track:
        return []
    metrics = list(result.definitions)
    rows = []
    for item in result.scores:
        found = [item.metrics.get(name) for name in metrics]
        rows.append(
            [f"{item.track}: {item.stem}", *(_two(s.estimate if s else None) for s in found)]
        )
    return [aligned(["track", *metrics], rows, numbers=True).rstrip("\n")]


def _cells(scores: list[Score | None]) -> list[str]:
    cells = []
    for score in scores:
        if score is None:
            cells += ["-"] * 3
            continue
        cells += [_two(score.estimate), _two(score.mixture), _two(score.improvement, sign=True)]
    return cells


def _two(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.2f}" if sign else f"{value:.2f}"


def _bsseval(result: EvalResult) -> list[str]:
    """Medians over tracks, each with its quartiles, and what they mean."""
    if not result.bsseval:
        return []
    rows = []
    for stem, metrics in result.bsseval.items():
        some = next(iter(metrics.values()))
        row = [stem, str(some.tracks), str(some.frames)]
        for value in metrics.values():
            quartiles = f"{value.lower_quartile:.2f} to {value.upper_quartile:.2f}"
            row += [f"{value.median:.2f}", f"{value.mean:.2f}", quartiles]
        rows.append(row)
    head = ["stem", "tracks", "frames"]
    for name in next(iter(result.bsseval.values())):
        head += [name, "mean", "quartiles"]
    marked = (
        f"ill-conditioned: {track}: ISR, SIR and SAR are not defined to 1e-3 dB"
        for track in result.ill_conditioned
    )
    kept = result.provenance["bsseval"]
    window, hop = kept["window_seconds"], kept["hop_seconds"]
    what = f"{kept['metric']}, medians, dB; {window:g} s frames, hop {hop:g} s"
    return [what, aligned(head, rows, numbers=True).rstrip("\n"), *marked]


def comparison_text(result: EvalComparison) -> str:
    """Differences to the first result."""
    lines = []
    for other in result.others:
        lines.append(f"{other.name} less {result.first}")
        rows = [
            [
                f"{item.stem}: {item.metric}",
                str(item.tracks),
                _two(item.mean, sign=True),
                f"{_two(item.low, sign=True)} to {_two(item.high, sign=True)}",
                _two(item.median, sign=True),
                str(item.wins),
            ]
            for item in other.differences
        ]
        head = ["", "tracks", "mean", "95 % of the mean", "median", "better on"]
        lines.append(aligned(head, rows, numbers=True).rstrip("\n"))
        lines += [f"left out: {reason}" for reason in other.left_out]
        lines += [f"only in {other.name}: {track}" for track in other.only_here]
        lines += [f"not in {other.name}: {track}" for track in other.missing]
    lines += [f"{name}: {meaning}" for name, meaning in result.definitions.items()]
    lines.append(f"intervals: bootstrap over tracks, {result.resamples} resamples, seed 0")
    return "".join(f"{line}\n" for line in lines)
