"""The report of an evaluation: one HTML page of tables and plots, and pages to hear its tracks.

It is made from the folder of the evaluation alone: ``summary.json``, the tracks' documents and
their excerpts. So an evaluation that was interrupted has the same report as one that was not.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

import numpy as np

from mssctl.config.metrics import metric_of
from mssctl.data.names import MIXTURE
from mssctl.errors import MssctlError
from mssctl.evaluation.documents import find_document
from mssctl.evaluation.excerpts import SECONDS
from mssctl.evaluation.store import sounds_of
from mssctl.evaluation.summary import numbers_of, read_summary, read_track
from mssctl.pages import plots, render
from mssctl.pages.listening import write_into
from mssctl.pages.listening.tracks import Take

SOUNDS = 100_000_000  # bytes of all listening pages together, at most
LISTENED = 60  # tracks that have one: of more, an even choice from the best to the worst
_EACH = 3_000_000  # bytes of one of them, at most

_Songs = dict[str, tuple[list[Take], Path | None]]

_HIDDEN = {"metrics", "references", "scored"}  # shown elsewhere, or hashes and lists per track
_MAIN = "sdr"  # tracks are ordered by it


def report(
    folder: Path, page: Path
) -> tuple[str, dict[str, str], Callable[[Path, Path], None] | None]:
    """The report of the evaluation in ``folder``.

    Args:
        folder: of the evaluation.
        page: file that the report is for.

    Returns:
        Its text, file name -> SVG of each plot, and what writes the listening pages into a folder
        that becomes another one; None if there are no excerpts.

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
    songs = _songs(folder, summary)
    few = len(songs) < tracks
    metrics = [metric_of(name) for name in summary["definitions"]]
    groups, lines = _groups(summary), _lines(documents)
    boxes = {
        name: plots.box_plot(found, metric_of(name).title, metric_of(name).unit)
        for name, found in groups.items()
    }
    text = render(
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
        links={
            name: f"{quote(sounds_of(page).name)}/{_numbered(index)}/index.html"
            for index, name in enumerate(songs, 1)
        },
        listen=f"{f'{len(songs)} of {tracks} tracks' if few else 'Every track'} can be heard, the "
        f"{SECONDS:g} loudest seconds: together at most {SOUNDS / 1e6:g} MB.",
        provenance=[row for row in _flat(provenance) if row[0].split()[0] not in _HIDDEN],
    )
    named = boxes | {f"{track} over time": plot for track, plot in lines.items()}
    drawings = {f"{name}.svg": plot for name, plot in named.items()}
    return text, drawings, partial(_write_sounds, songs) if songs else None


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


def _numbered(index: int) -> str:
    return f"{index:03d}"  # a track's name may be none for a folder on another system


def _write_sounds(songs: _Songs, made: Path, final: Path) -> None:
    """Write a listening page per track into ``made``, which becomes ``final``."""
    for index, (track, (takes, mixture)) in enumerate(songs.items(), 1):
        name = _numbered(index)
        (made / name).mkdir()
        limit = min(_EACH, SOUNDS // len(songs))
        write_into(made / name, final / name, track, takes, mixture, limit=limit)


def _songs(folder: Path, summary: Mapping[str, Any]) -> _Songs:
    """The tracks with a listening page, the best by mean SDR first: takes, and the mixture."""
    songs = {}
    for name in _ranked(summary):
        scored = [item["stem"] for item in summary["scores"] if item["track"] == name]
        takes, mixture = _takes(folder / "excerpts" / name, scored)
        if takes:
            songs[name] = takes, mixture
    return {name: songs[name] for name in _spread(list(songs), LISTENED)}


def _takes(excerpt: Path, scored: Collection[str]) -> tuple[list[Take], Path | None]:
    """Estimate and reference of a track, and its mixture."""
    files = {path.stem: path for path in sorted(excerpt.glob("*.flac"))}
    takes = []
    for kind in ("estimate", "reference"):
        ending = f".{kind}"
        stems = {stem: files[stem + ending] for stem in scored if stem + ending in files}
        takes += [Take(kind, stems)] if stems else []
    return takes, files.get(MIXTURE)


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
    return [names[round(i * (len(names) - 1) / max(1, count - 1))] for i in range(count)]
