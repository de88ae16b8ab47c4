"""A track's document: its scores as JSON with a checksum, where it is kept, whose it is.

Documents that museval's readers can read are in ``test``, where they look and read all there is;
others are in ``tracks``. Older versions wrote them beside ``summary.json``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mssctl.documents import CHECKSUM, read_json, sealed, unsealed
from mssctl.errors import MssctlError
from mssctl.evaluation.bsseval.frames import readable_by_museval, spreads
from mssctl.results.evaluate import Score, StemScore

Document = dict[str, Any]

SUMMARY = "summary.json"
FOLDERS = ("test", "tracks")

_OF_THE_AUDIO = ("scored_together", "references_sha256")  # in a summary's provenance only
_MARK_BYTES = 200


def document_place(folder: Path, track: str, document: Mapping[str, Any]) -> Path:
    """The file for the document of a track."""
    return folder / FOLDERS[0 if readable_by_museval(document) else 1] / f"{track}.json"


def document_places(folder: Path, track: str) -> list[Path]:
    """All files that may hold the document of a track."""
    places = [folder / name / f"{track}.json" for name in FOLDERS]
    old = folder / f"{track}.json"
    return places if old.name == SUMMARY else [*places, old]


def find_document(folder: Path, track: str) -> Path:
    """The file that holds the document of a track, or would hold it."""
    places = document_places(folder, track)
    return next((place for place in places if place.is_file()), places[0])


def read(path: Path, *, damaged: bool = False) -> Document:
    """A document of a track or a summary, in today's form.

    Args:
        path: the file.
        damaged: whether it may have changed since it was written.

    Raises:
        MssctlError: unreadable, or changed (exit 4).
    """
    document = read_json(path)
    if CHECKSUM in document and not damaged:  # older versions wrote none
        document = unsealed(document, str(path))
    for part in (document, document.get("data")):  # `eval --json` prints a summary under "data"
        if isinstance(part, dict) and "passport" in part:  # what older versions called it
            part["provenance"] = part.pop("passport")
    return document


def provenance_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What a summary's scores depend on besides the audio."""
    found = summary["provenance"].items()
    return {key: value for key, value in found if key not in _OF_THE_AUDIO}


def provenance_in(path: Path) -> dict[str, Any] | None:
    """The provenance in a document of a track; None if it is not a document."""
    try:
        found = read(path, damaged=True).get("provenance")
    except MssctlError:
        return None
    return found if isinstance(found, dict) else None


def marked(text: str, provenance: Mapping[str, Any]) -> str:
    """Append the comment by which `is_marked` recognizes a page or a picture."""
    return f"{text}{_mark(provenance)}"


def is_marked(path: Path, provenance: Mapping[str, Any]) -> bool:
    """Whether a file was written by an evaluation of the same provenance."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _MARK_BYTES))
            return file.read().endswith(_mark(provenance).encode())
    except OSError:
        return False


def _mark(provenance: Mapping[str, Any]) -> str:
    text = json.dumps(provenance, sort_keys=True)
    return f"<!-- mssctl eval {hashlib.sha256(text.encode()).hexdigest()[:32]} -->\n"


def whole(path: Path) -> Document | None:
    """A track's document; None if it is not there or damaged."""
    try:
        document = read(path)
        unpacked(document), spreads([document]), list(document["skipped"])
        document["track"], document["scored_together"], document["references_sha256"]
    except (MssctlError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return document


def file_state(path: Path) -> list[Any]:
    """Name, size and time of change of a file; only the name of one that cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return [path.name]
    return [path.name, status.st_size, status.st_mtime_ns]


def as_text(document: Mapping[str, Any]) -> str:
    """JSON with a checksum; what is not UTF-8 in a name is escaped."""
    text = json.dumps(sealed(document), indent=1, allow_nan=False, ensure_ascii=False)
    # Python escapes a lone surrogate as JSON does.
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


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
