"""One HTML page about an evaluation, with nothing outside it: tables, plots, sounds.

It is made from the folder of the evaluation alone: ``summary.json``, the tracks' documents and
their excerpts. So an evaluation that was interrupted has the same report as one that was not.
"""

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
from mssctl.evaluation.summary import numbers_of, read_summary, read_track
from mssctl.pages import number, plots, render, sounds, spectrogram

LISTENED = 8  # tracks with sounds: each takes about a megabyte

_HIDDEN = {"metrics", "references", "scored"}  # shown elsewhere, or hashes and lists per track
_MAIN = "sdr"  # tracks are ordered by it


def report(folder: Path) -> tuple[str, dict[str, str]]:
    """The page for the evaluation in ``folder``, and file name -> SVG of each plot.

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
    metrics = [metric_of(name) for name in summary["definitions"]]
    groups, lines = _groups(summary), _lines(documents)
    boxes = {
        name: plots.box_plot(found, metric_of(name).title, metric_of(name).unit)
        for name, found in groups.items()
    }
    page = render(
        "mssctl.evaluation",
        "report.html.j2",
        title=f"{summary['model']} on {reference}",
        about=", ".join(about),
        summary=summary,
        titles=[metric.title for metric in metrics],
        gains=[word for metric in metrics for word in (metric.title, "gain")],
        medians=[metric.title for metric in metrics if metric.median],
        boxes=boxes.values(),
        quartiles=[
            (stem, metric_of(name).title, _quartiles(found[stem]), len(found[stem]))
            for stem in summary["counts"]
            for name, found in groups.items()
            if stem in found
        ],
        lines=lines.values(),
        songs=[(name, found) for name in heard if (found := _sounds(folder, summary, name))],
        listen=f"{some}, the best by mean SDR first: the {SECONDS:g} loudest seconds of each. "
        f"Spectrograms from {spectrogram.LOWEST:g} Hz up, {spectrogram.RANGE_DB:g} dB deep, "
        "all of a track on one scale.",
        provenance=[row for row in _flat(provenance) if row[0].split()[0] not in _HIDDEN],
    )
    named = boxes | {f"{track} over time": plot for track, plot in lines.items()}
    return page, {f"{name}.svg": plot for name, plot in named.items()}


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The summary, and the document of each track."""
    try:
        summary = read_summary(folder / "summary.json")
        names = dict.fromkeys(item["track"] for item in summary["scores"])
        return summary, {name: read_track(find_document(folder, name)) for name in names}
    except MssctlError as error:
        raise MssctlError(f"{folder}: no whole evaluation to report on: {error.message}") from None


def _lines(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Track -> plot of its SDR over time."""
    found = {}
    for track, document in documents.items():
        series = {
            target["name"]: [(f["time"], f["metrics"].get("SDR")) for f in target["frames"]]
            for target in document.get("targets", ())
        }
        if series:
            found[track] = plots.over_time(series, track, metric_of("SDR").unit)
    return found


def _quartiles(values: Sequence[float]) -> list[float]:
    """What a box shows: median, mean, and lower and upper quartile."""
    return [np.median(values), fmean(values), *np.quantile(values, (0.25, 0.75))]


def _groups(summary: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Metric -> stem -> one value per track."""
    values = numbers_of(summary)
    names = dict.fromkeys([*summary["definitions"], *(name for _, name in values)])
    groups = {
        name: {
            stem: list(found.values())
            for stem in summary["counts"]
            if (found := values.get((stem, name)))
        }
        for name in names
        if name != "SDR"  # that is cSDR's
    }
    return {name: found for name, found in groups.items() if found}


def _sounds(folder: Path, summary: Mapping[str, Any], track: str) -> list[dict[str, Any]]:
    """Players of a track: the mixture, then reference and estimate of each stem."""
    found, rate = read_excerpt(folder / "excerpts" / track)
    if not found:
        return []
    loudest = max(spectrogram.peak(audio) for audio in found.values())
    players = []
    if MIXTURE in found:
        players.append(sounds.sound(MIXTURE, "", found[MIXTURE], rate, loudest, wide=True))
    for item in summary["scores"]:  # a stem that was left out has no players
        if item["track"] != track:
            continue
        score = item["metrics"][_MAIN]["estimate"]
        value = "" if score is None else f", SDR {number(score)} dB"
        for about, name in ((" reference", "reference"), (f" estimate{value}", "estimate")):
            if (audio := found.get(f"{item['stem']}.{name}")) is not None:
                players.append(sounds.sound(item["stem"], about, audio, rate, loudest))
    return players


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
        values.setdefault(item["track"], []).extend([] if score is None else [score])
    return sorted(values, key=lambda name: -fmean(values[name]) if values[name] else math.inf)


def _spread(names: Sequence[str], count: int) -> list[str]:
    """At most ``count`` of them, evenly from first to last."""
    if len(names) <= count:
        return list(names)
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)]
