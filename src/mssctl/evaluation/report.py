"""One HTML page about an evaluation, with nothing outside it: tables, plots, sounds.

It is made from the folder of the evaluation alone: ``summary.json``, the tracks' documents and
their excerpts. So an evaluation that was interrupted has the same report as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from mssctl.config.metrics import metric_of
from mssctl.data.names import MIXTURE
from mssctl.errors import MssctlError
from mssctl.evaluation.documents import find_document
from mssctl.evaluation.excerpts import SECONDS, read_excerpt
from mssctl.evaluation.summary import read_summary, read_track
from mssctl.pages import number, render
from mssctl.pages.plots import box_plot, over_time
from mssctl.pages.sounds import sound
from mssctl.pages.spectrogram import LOWEST, RANGE_DB, peak

LISTENED = 8  # tracks with sounds: each takes about a megabyte

_HIDDEN = {"metrics", "references", "scored"}  # shown elsewhere, or hashes and lists per track
_MAIN = "sdr"  # tracks are ordered by it
_QUARTILES = ["stem", "", "median", "mean", "lower quartile", "upper quartile"]


def report(folder: Path) -> str:
    """The page for the evaluation in ``folder``.

    Raises:
        MssctlError: there is no whole evaluation in it.
    """
    summary, documents = _read(folder)
    provenance = summary["provenance"]
    tracks = summary["tracks"]
    about = [f"{tracks} track{'' if tracks == 1 else 's'}", provenance["program"]]
    if summary["device"]:
        about.append(f"{summary['dtype']} on {summary['device']}")
    reference = provenance.get("musdb") or Path(summary["reference"]).name or summary["reference"]
    ranked = _ranked(summary)
    heard = _spread([name for name in ranked if (folder / "excerpts" / name).is_dir()], LISTENED)
    some = f"{len(heard)} of {len(ranked)} tracks" if len(heard) < len(ranked) else "All tracks"
    left_out = [f"Left out: {reason}" for reason in summary["skipped"]]
    return render(
        "mssctl.evaluation",
        "report.html.j2",
        title=f"{summary['model']} on {reference}",
        about=", ".join(about),
        marks=summary["marks"],
        stems=_stems(summary),
        bsseval=_bsseval(summary),
        ill_conditioned=summary["ill_conditioned"],
        boxes=list(_boxes(summary).values()),
        quartiles=_quartiles(summary),
        lines=list(_lines(documents).values()),
        songs=[(name, found) for name in heard if (found := _sounds(folder, summary, name))],
        listen=f"{some}, the best by mean SDR first: the {SECONDS:g} loudest seconds of each. "
        f"Spectrograms from {LOWEST:g} Hz up, {RANGE_DB:g} dB deep, all of a track on one scale.",
        tracks=_tracks(summary),
        sentences=[*summary["definitions"].values(), *left_out, *summary["notes"]],
        provenance=[row for row in _flat(provenance) if row[0].split()[0] not in _HIDDEN],
    )


def plots(folder: Path) -> dict[str, str]:
    """File name -> SVG of each plot of the evaluation in ``folder``.

    Raises:
        MssctlError: there is no whole evaluation in it.
    """
    summary, documents = _read(folder)
    return {
        **{f"{name}.svg": plot for name, plot in _boxes(summary).items()},
        **{f"{name} over time.svg": plot for name, plot in _lines(documents).items()},
    }


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The summary, and the document of each track."""
    try:
        summary = read_summary(folder / "summary.json")
        names = dict.fromkeys(item["track"] for item in summary["scores"])
        return summary, {name: read_track(find_document(folder, name)) for name in names}
    except MssctlError as error:
        raise MssctlError(f"{folder}: no whole evaluation to report on: {error.message}") from None


def _stems(summary: Mapping[str, Any]) -> dict[str, Any]:
    names = list(summary["definitions"])
    head = ["stem", "tracks", *(word for n in names for word in (metric_of(n).title, "gain"))]
    rows = []
    for stem, row in summary["means"].items():
        cells = [stem, str(summary["counts"].get(stem, ""))]
        for name in names:
            score = row.get(name) or {"estimate": None, "improvement": None}
            cells += [number(score["estimate"]), number(score["improvement"], sign=True)]
        rows.append(cells)
    return {"head": head, "rows": rows, "total": rows[-1][0] == "mean"}


def _bsseval(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    if not summary["bsseval"]:
        return None
    kept = summary["provenance"]["bsseval"]
    rows = [
        [
            stem,
            name,
            *(number(value[key]) for key in ("median", "mean", "lower_quartile", "upper_quartile")),
            value["tracks"],
            value["frames"],
        ]
        for stem, table in summary["bsseval"].items()
        for name, value in table.items()
    ]
    return {
        "about": f"{kept['metric']} by {kept['engine']}, dB: medians over frames of "
        f"{kept['window_seconds']:g} s, and their distribution over tracks.",
        "head": [*_QUARTILES, "tracks", "frames"],
        "rows": rows,
    }


def _boxes(summary: Mapping[str, Any]) -> dict[str, str]:
    """Metric -> plot of its distribution."""
    found = {name: (metric_of(name), groups) for name, groups in _groups(summary).items()}
    return {name: box_plot(groups, m.title, m.unit) for name, (m, groups) in found.items()}


def _lines(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Track -> plot of its SDR over time."""
    found = {}
    for track, document in documents.items():
        series = {
            target["name"]: [(f["time"], f["metrics"].get("SDR")) for f in target["frames"]]
            for target in document.get("targets", ())
        }
        if series:
            found[track] = over_time(series, track, metric_of("SDR").unit)
    return found


def _quartiles(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the boxes show, as a table."""
    groups = _groups(summary)
    rows = []
    for stem in summary["counts"]:
        for name, values in ((n, found[stem]) for n, found in groups.items() if stem in found):
            low, middle, high = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
            numbers = [number(value) for value in (middle, fmean(values), low, high)]
            rows.append([stem, metric_of(name).title, *numbers, len(values)])
    return {"head": [*_QUARTILES, "tracks"], "rows": rows}


def _groups(summary: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Metric -> stem -> one value per track."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in summary["definitions"]}
    for item in summary["scores"]:
        for name, score in item["metrics"].items():
            if _is_number(score["estimate"]):
                found[name].setdefault(item["stem"], []).append(score["estimate"])
    for row in summary["medians"].values():
        for stem, metrics in row.items():
            for name, value in metrics.items():
                if name != "SDR":  # that is cSDR's
                    found.setdefault(name, {}).setdefault(stem, []).append(value)
    return {
        name: {stem: groups[stem] for stem in summary["counts"] if stem in groups}
        for name, groups in found.items()
        if groups
    }


def _sounds(folder: Path, summary: Mapping[str, Any], track: str) -> list[dict[str, Any]]:
    """Players of a track: the mixture, then reference and estimate of each stem."""
    found, rate = read_excerpt(folder / "excerpts" / track)
    if not found:
        return []
    loudest = max(peak(audio) for audio in found.values())
    players = []
    if MIXTURE in found:
        players.append(sound(MIXTURE, "", found[MIXTURE], rate, loudest, wide=True))
    for item in summary["scores"]:  # a stem that was left out has no players
        if item["track"] != track:
            continue
        score = item["metrics"][_MAIN]["estimate"]
        value = "" if score is None else f", SDR {number(score)} dB"
        for about, name in ((" reference", "reference"), (f" estimate{value}", "estimate")):
            if (audio := found.get(f"{item['stem']}.{name}")) is not None:
                players.append(sound(item["stem"], about, audio, rate, loudest))
    return players


def _tracks(summary: Mapping[str, Any]) -> dict[str, Any]:
    names = list(summary["definitions"])
    rows = [
        [
            f"{item['track']}: {item['stem']}",
            *(number((item["metrics"].get(name) or {}).get("estimate")) for name in names),
        ]
        for item in summary["scores"]
    ]
    return {"head": ["track and stem", *(metric_of(name).title for name in names)], "rows": rows}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key} ")
        elif value not in ("", [], None):
            yield f"{prefix}{key}".replace("_", " "), value


def _ranked(summary: Mapping[str, Any]) -> list[str]:
    """Tracks by the mean of their stems' SDR, the best first."""
    values: dict[str, list[float]] = {}
    for item in summary["scores"]:
        score = item["metrics"][_MAIN]["estimate"]
        values.setdefault(item["track"], []).extend([score] if _is_number(score) else [])
    return sorted(values, key=lambda name: -fmean(values[name]) if values[name] else math.inf)


def _spread(names: Sequence[str], count: int) -> list[str]:
    """At most ``count`` of them, evenly from first to last."""
    if len(names) <= count:
        return list(names)
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)]


def _is_number(value: float | None) -> bool:
    """Whether it can be drawn and averaged."""
    return value is not None and math.isfinite(value)
