"""Where an evaluation keeps the documents of its tracks, and how it recognizes its own files.

Documents that museval's readers can read are in ``test``, where they look and read all there is;
others are in ``tracks``. Older versions wrote them beside ``summary.json``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mssctl.evaluation.bsseval.frames import readable_by_museval

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


def provenance_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What a summary's scores depend on besides the audio."""
    passport = summary["passport"]
    return {key: value for key, value in passport.items() if key not in _OF_THE_AUDIO}


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
