"""One document per scored track in a folder, so that an interrupted evaluation goes on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mssctl.documents import read_json
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.frames import spreads
from mssctl.evaluation.references import ReferenceTrack
from mssctl.files import write_whole
from mssctl.results.evaluate import EvalResult, Score, StemScore

Document = dict[str, Any]


class Store:
    """Documents of tracks, each with the passport it was made under.

    Args:
        folder: where they lie, made if it is not there; None keeps nothing.
        passport: what the scores depend on; a document with another one is made again.
    """

    def __init__(self, folder: Path | None, passport: Mapping[str, Any]) -> None:
        self.folder = folder
        self.passport = dict(passport)
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _unwritable(folder, error) from None

    def find(self, track: ReferenceTrack, estimates: Mapping[str, Any]) -> Document | None:
        """The track's document, if it was made from the same files under the same passport.

        ``estimates`` is what the track's estimates depend on.
        """
        if self.folder is None:
            return None
        try:
            document = read_json(self.folder / f"{track.name}.json")
        except MssctlError:
            return None
        if document.get("passport") != self._mark(track, estimates):
            return None
        return document

    def keep(
        self, track: ReferenceTrack, estimates: Mapping[str, Any], document: Document
    ) -> Document:
        """Write the track's document whole or not at all; returns it with its passport."""
        document = {**document, "passport": self._mark(track, estimates)}
        if self.folder is not None:
            write(self.folder / f"{track.name}.json", document)
        return document

    def _mark(self, track: ReferenceTrack, estimates: Mapping[str, Any]) -> dict[str, Any]:
        if track.packed is not None:
            status = track.packed.stat()
            packed = [track.packed.name, status.st_size, status.st_mtime_ns]
            return {**self.passport, **estimates, "files": {"packed": packed}}
        mixture = {} if track.mixture is None else {"mixture": track.mixture}
        files = {}
        for stem, path in sorted({**track.stems, **mixture}.items()):
            status = path.stat()
            files[stem] = [path.name, status.st_size, status.st_mtime_ns]
        return {**self.passport, **estimates, "files": files}


def write(path: Path, document: Any) -> None:
    """Write JSON under another name, then rename.

    Raises:
        MssctlError: it cannot be written (exit 3).
    """
    _replace(path, json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text under another name, then rename; its folder is made.

    Raises:
        MssctlError: it cannot be written (exit 3).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None
    _replace(path, text)


def write_csv(path: Path, scores: Sequence[StemScore], documents: Sequence[Document]) -> None:
    """Write one row per track, stem and metric: of whole tracks, and medians over frames.

    Raises:
        MssctlError: it cannot be written (exit 3).
    """
    rows: list[tuple[str, str, str, float]] = [
        (item.track, item.stem, name, score.estimate)
        for item in scores
        for name, score in item.metrics.items()
    ]
    for document in documents:
        for stem, metrics in spreads([document]).items():
            rows += [
                (document["track"], stem, name, value.median) for name, value in metrics.items()
            ]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("track", "stem", "metric", "value"))
    table.writerows(rows)
    _replace(path, text.getvalue())


def write_markdown(path: Path, result: EvalResult) -> None:
    """Write the tables for people: stems by metrics, and BSSEval's distributions.

    Raises:
        MssctlError: it cannot be written (exit 3).
    """
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
    _replace(path, "\n".join(lines) + "\n")


def _two(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return ""
    return f"{value:+.2f}" if sign else f"{value:.2f}"


def packed(scores: Sequence[StemScore], skipped: Sequence[str]) -> Document:
    """Scores as JSON's own types."""
    return {"scores": [asdict(item) for item in scores], "skipped": list(skipped)}


def unpacked(document: Document) -> list[StemScore]:
    """Scores of a document."""
    return [
        StemScore(
            item["track"],
            item["stem"],
            {name: Score(**score) for name, score in item["metrics"].items()},
        )
        for item in document["scores"]
    ]


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> MssctlError:
    return MssctlError(
        f"{path}: {error.strerror or error}",
        hint="give another folder with --out",
        exit_code=ExitCode.ENVIRONMENT,
    )
