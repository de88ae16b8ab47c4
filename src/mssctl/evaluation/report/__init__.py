"""One HTML page about an evaluation, with nothing outside it: tables, plots, sounds.

It is made from the folder of the evaluation alone: ``summary.json``, the tracks' documents and
their excerpts. So an evaluation that was interrupted has the same report as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files as resources
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from mssctl.data.names import MIXTURE
from mssctl.errors import MssctlError
from mssctl.evaluation.documents import find_document
from mssctl.evaluation.excerpts import SECONDS, read_excerpt
from mssctl.evaluation.metrics import CSDR
from mssctl.evaluation.report import svg
from mssctl.evaluation.report.sounds import figure
from mssctl.evaluation.report.spectrogram import LOWEST, RANGE_DB, peak
from mssctl.evaluation.summary import read_summary, read_track

LISTENED = 8  # tracks with sounds: each takes about a megabyte

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
_SHOWN = {"metrics", "references", "scored"}  # elsewhere, or hashes and lists per track
_MAIN = "sdr"  # tracks are ordered by it


def report(folder: Path) -> str:
    """The page for the evaluation in ``folder``.

    Raises:
        MssctlError: there is no whole evaluation in it.
    """
    try:
        summary = read_summary(folder / "summary.json")
        names = dict.fromkeys(item["track"] for item in summary["scores"])
        documents = {name: read_track(find_document(folder, name)) for name in names}
    except MssctlError as error:
        raise MssctlError(f"{folder}: no whole evaluation to report on: {error.message}") from None
    title = f"{summary['model']} on {_place(summary)}"
    body = [
        _head(summary, title),
        *_stems(summary),
        *_framewise(summary),
        *_plots(summary, documents),
        *_sounds(folder, summary),
        *_tracks(summary),
        *_small_print(summary),
    ]
    style = (resources("mssctl.evaluation.report") / "report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def plots(folder: Path) -> dict[str, str]:
    """File name -> SVG of each plot of the evaluation in ``folder``.

    Raises:
        MssctlError: there is no whole evaluation in it.
    """
    try:
        summary = read_summary(folder / "summary.json")
        found = {
            f"{name}.svg": svg.box_plot(groups, _title(name), _unit(name))
            for name, groups in _groups(summary).items()
        }
        for name in dict.fromkeys(item["track"] for item in summary["scores"]):
            document = read_track(find_document(folder, name))
            if "targets" in document:
                found[f"{name} over time.svg"] = _over_time(name, document)
    except MssctlError as error:
        raise MssctlError(f"{folder}: no whole evaluation to plot: {error.message}") from None
    return found


def _head(summary: Mapping[str, Any], title: str) -> str:
    tracks = summary["tracks"]
    words = [f"{tracks} track{'' if tracks == 1 else 's'}", summary["passport"]["program"]]
    if summary["device"]:
        words.append(f"{summary['dtype']} on {summary['device']}")
    marks = "".join(f'<p class="mark">{escape(mark)}</p>' for mark in summary["marks"])
    return f'<h1>{escape(title)}</h1>\n<p class="soft">{escape(", ".join(words))}</p>{marks}'


def _stems(summary: Mapping[str, Any]) -> list[str]:
    metrics = list(summary["definitions"])
    head = ["stem", "tracks"]
    for name in metrics:
        head += [_title(name), "gain"]
    rows = []
    for stem, row in summary["means"].items():
        cells = [stem, str(summary["counts"].get(stem, ""))]
        for name in metrics:
            score = row.get(name) or {"estimate": None, "improvement": None}
            cells += [_two(score["estimate"]), _two(score["improvement"], sign=True)]
        rows.append(cells)
    words = (
        "Means over tracks; of cSDR, medians. The gain is against the unprocessed mixture, where "
        "there is one."
    )
    return [
        "<h2>Stems</h2>",
        f'<p class="soft">{words}</p>',
        _table(head, rows, total=rows[-1][0] == "mean"),
    ]


def _framewise(summary: Mapping[str, Any]) -> list[str]:
    if not summary["bsseval"]:
        return []
    head = ["stem", "", "median", "mean", "lower quartile", "upper quartile", "tracks", "frames"]
    rows = [
        [
            stem,
            name,
            *(_two(value[key]) for key in ("median", "mean", "lower_quartile", "upper_quartile")),
            str(value["tracks"]),
            str(value["frames"]),
        ]
        for stem, table in summary["bsseval"].items()
        for name, value in table.items()
    ]
    paper = summary["passport"]["bsseval"]
    words = (
        f"{paper['metric']} by {paper['engine']}, dB: medians over frames of "
        f"{paper['window_seconds']:g} s, and their distribution over tracks."
    )
    ill = "".join(
        f"<p>{escape(track)}: ill-conditioned: ISR, SIR and SAR are not defined to 1e-3 dB.</p>"
        for track in summary["ill_conditioned"]
    )
    return ["<h2>BSSEval</h2>", f'<p class="soft">{escape(words)}</p>', _table(head, rows), ill]


def _plots(summary: Mapping[str, Any], documents: Mapping[str, Any]) -> list[str]:
    boxes = [
        svg.box_plot(groups, _title(name), _unit(name)) for name, groups in _groups(summary).items()
    ]
    parts = [
        "<h2>Distribution over tracks</h2>",
        '<p class="soft">Box: quartiles, median. Dot: a track; below −30 dB on the edge.</p>',
        f'<div class="plots">{"".join(boxes)}</div>',
        f"<details><summary>Numbers</summary>{_quartiles(summary)}</details>",
    ]
    lines = [
        _over_time(name, document) for name, document in documents.items() if "targets" in document
    ]
    if lines:
        parts += [
            "<h2>SDR over time</h2>",
            '<p class="soft">Per frame; below −30 dB on the edge. A gap: a stem is silent.</p>',
            f'<div class="plots">{"".join(lines)}</div>',
        ]
    return parts


def _quartiles(summary: Mapping[str, Any]) -> str:
    """What the boxes show, as a table."""
    head = ["stem", "", "median", "mean", "lower quartile", "upper quartile", "tracks"]
    groups = _groups(summary)
    rows = []
    for stem in summary["counts"]:
        for metric, values in ((m, found[stem]) for m, found in groups.items() if stem in found):
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
            numbers = [_two(float(value)) for value in (middle, fmean(values), low, high)]
            rows.append([stem, _title(metric), *numbers, str(len(values))])
    return _table(head, rows)


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


def _over_time(track: str, document: Mapping[str, Any]) -> str:
    series = {
        target["name"]: [(frame["time"], frame["metrics"].get("SDR")) for frame in target["frames"]]
        for target in document["targets"]
    }
    return svg.over_time(series, track, "dB")


def _sounds(folder: Path, summary: Mapping[str, Any]) -> list[str]:
    """Players and spectrograms of tracks from the best to the worst."""
    ranked = _ranked(summary)
    chosen = _spread([n for n in ranked if (folder / "excerpts" / n).is_dir()], LISTENED)
    if not chosen:
        return []
    some = f"{len(chosen)} of {len(ranked)} tracks" if len(chosen) < len(ranked) else "All tracks"
    words = (
        f"{some}, the best by mean SDR first: the {SECONDS:g} loudest seconds of each. "
        f"Spectrograms from {LOWEST:g} Hz up, {RANGE_DB:g} dB deep, all of a track on one scale."
    )
    scores: dict[str, dict[str, float | None]] = {name: {} for name in chosen}
    for item in summary["scores"]:
        if item["track"] in scores:
            scores[item["track"]][item["stem"]] = item["metrics"][_MAIN]["estimate"]
    parts = ["<h2>Listen</h2>", f'<p class="soft">{words}</p>']
    for name in chosen:
        sounds, rate = read_excerpt(folder / "excerpts" / name)
        if not sounds:
            continue
        loudest = max(peak(sound) for sound in sounds.values())
        figures = []
        if MIXTURE in sounds:
            caption = f"<b>{MIXTURE}</b>"
            figures.append(figure(caption, MIXTURE, sounds[MIXTURE], rate, loudest, whole=True))
        for stem, score in scores[name].items():  # a stem that was left out has no players
            figures += [
                figure(
                    _caption(stem, kind, score),
                    f"{stem} {kind}",
                    sounds[f"{stem}.{kind}"],
                    rate,
                    loudest,
                )
                for kind in ("reference", "estimate")
                if f"{stem}.{kind}" in sounds
            ]
        parts += [f"<h3>{escape(name)}</h3>", f'<div class="sounds">{"".join(figures)}</div>']
    return parts


def _caption(stem: str, kind: str, score: float | None) -> str:
    value = f", SDR {_two(score)} dB" if kind == "estimate" and score is not None else ""
    return f"<b>{escape(stem)}</b> {kind}{value}"


def _tracks(summary: Mapping[str, Any]) -> list[str]:
    metrics = list(summary["definitions"])
    rows = [
        [
            f"{item['track']}: {item['stem']}",
            *(_two((item["metrics"].get(name) or {}).get("estimate")) for name in metrics),
        ]
        for item in summary["scores"]
    ]
    return ["<h2>Tracks</h2>", _table(["track and stem", *map(_title, metrics)], rows)]


def _small_print(summary: Mapping[str, Any]) -> list[str]:
    passport = summary["passport"]
    words = [*summary["definitions"].values(), *(f"Left out: {x}" for x in summary["skipped"])]
    words += summary["notes"]
    listing = "".join(f"<p>{escape(sentence)}</p>" for sentence in words)
    rows = [[key, value] for key, value in _flat(passport) if key.split()[0] not in _SHOWN]
    table = "".join(
        f'<tr><td>{escape(key)}</td><td class="words">{escape(str(value))}</td></tr>'
        for key, value in rows
    )
    return [
        "<h2>What was measured</h2>",
        listing,
        f"<details><summary>Passport</summary><table><tbody>{table}</tbody></table></details>",
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key} ")
        elif value not in ("", [], None):
            yield f"{prefix}{key}".replace("_", " "), value


def _place(summary: Mapping[str, Any]) -> str:
    passport = summary["passport"]
    return str(passport.get("musdb") or Path(summary["reference"]).name or summary["reference"])


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


def _title(metric: str) -> str:
    names = {"sdr": "SDR", "si_sdr": "SI-SDR", CSDR: "cSDR", "l1_freq": "L1 freq", "lsd": "LSD"}
    return names.get(metric, metric)


def _unit(metric: str) -> str:
    return "" if metric in ("l1_freq", "bleedless", "fullness") else "dB"


def _two(value: float | None, *, sign: bool = False) -> str:
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return (f"{value:+.2f}" if sign else f"{value:.2f}").replace("-", "−")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, total: bool = False) -> str:
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = []
    for number, row in enumerate(rows):
        last = ' class="total"' if total and number == len(rows) - 1 else ""
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        lines.append(f'<tr{last}><th scope="row">{escape(row[0])}</th>{cells}</tr>')
    body = "".join(lines)
    return (
        '<div class="scroll" tabindex="0"><table>'
        f"<thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>"
    )
