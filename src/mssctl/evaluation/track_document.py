"""A track's document: its scores as JSON, with a checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mssctl.documents import CHECKSUM, read_json, sealed, unsealed
from mssctl.errors import MssctlError
from mssctl.evaluation.bsseval.frames import spreads
from mssctl.results.evaluate import Score, StemScore

Document = dict[str, Any]


def passport_in(path: Path) -> dict[str, Any] | None:
    """The provenance in a document; None if it is not a document."""
    try:
        passport = read_json(path).get("passport")
    except MssctlError:
        return None
    return passport if isinstance(passport, dict) else None


def has_failures(path: Path) -> bool:
    """Whether a document says that a file of its track could not be read."""
    document = whole(path)
    return document is not None and bool(document.get("failures"))


def whole(path: Path) -> Document | None:
    """A track's document; None if it is not there or damaged."""
    try:
        document = read_json(path)
        if CHECKSUM in document:  # older versions wrote none
            document = unsealed(document, str(path))
        unpacked(document), spreads([document]), list(document["skipped"])
        document["track"], document["scored_together"], document["references_sha256"]
    except (MssctlError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return document


def as_text(document: Mapping[str, Any]) -> str:
    """JSON with a checksum; a name whose bytes are not UTF-8 is escaped."""
    whole = sealed(document)
    text = json.dumps(whole, indent=1, allow_nan=False, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(whole, indent=1, allow_nan=False)
    return text + "\n"


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
