"""The tables of an evaluation as text: CSV for programs, Markdown for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from mssctl.evaluation.bsseval.frames import spreads
from mssctl.results.evaluate import EvalResult


def as_csv(result: EvalResult, documents: Sequence[dict[str, Any]]) -> str:
    """One row per track, stem and metric: of whole tracks, and medians over frames.

    What failed has a row ``failed`` with its path and no value.
    """
    rows: list[tuple[str, str, str, float | None]] = [
        (item.track, item.stem, name, score.estimate)
        for item in result.scores
        for name, score in item.metrics.items()
    ]
    for document in documents:
        for stem, metrics in spreads([document]).items():
            rows += [
                (document["track"], stem, name, value.median) for name, value in metrics.items()
            ]
    rows += [(failed.path, "", "failed", None) for failed in result.failures]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("track", "stem", "metric", "value"))
    table.writerows((_plain(track), _plain(stem), name, value) for track, stem, name, value in rows)
    return text.getvalue()


def _plain(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


def as_markdown(result: EvalResult) -> str:
    """Stems by metrics, and BSSEval's distributions."""
    names = list(result.definitions)
    lines = [f"# {result.model} on {result.reference}", ""]
    lines += [f"**{mark}**\n" for mark in result.marks]
    lines += ["| stem | tracks | " + " | ".join(f"{n} | gain" for n in names) + " |"]
    lines += ["| --- | ---: |" + " ---: | ---: |" * len(names)]
    for stem, row in result.means.items():
        cells = [stem, str(result.counts.get(stem, ""))]
        for name in names:
            found = row.get(name)
            cells += [_two(found.estimate if found else None)]
            cells += [_two(found.improvement if found else None, sign=True)]
        lines.append("| " + " | ".join(cells) + " |")
    if result.bsseval:
        lines += ["", "| stem | metric | median | mean | quartiles | tracks | frames |"]
        lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for stem, table in result.bsseval.items():
        for name, value in table.items():
            quartiles = f"{value.lower_quartile:.2f} to {value.upper_quartile:.2f}"
            lines.append(
                f"| {stem} | {name} | {value.median:.2f} | {value.mean:.2f} | {quartiles} | "
                f"{value.tracks} | {value.frames} |"
            )
    lines += ["", *(f"- {name}: {meaning}" for name, meaning in result.definitions.items())]
    lines += [f"- left out: {reason}" for reason in result.skipped]
    return "\n".join(lines) + "\n"


def _two(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return ""
    return f"{value:+.2f}" if sign else f"{value:.2f}"
