"""Reads back what an evaluation wrote: its ``summary.json`` and the documents of its tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mssctl.errors import MssctlError, shown
from mssctl.evaluation.documents import read


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Score(_Form):
    estimate: float | None
    mixture: float | None = None
    improvement: float | None = None


class _StemScore(_Form):
    track: str
    stem: str
    metrics: dict[str, _Score]


class _Spread(_Form):
    median: float
    mean: float
    lower_quartile: float
    upper_quartile: float
    tracks: int
    frames: int


class _Provenance(_Form):
    program: str = ""
    scored_together: dict[str, list[str]]
    references_sha256: dict[str, dict[str, str]]
    bsseval: dict[str, str | float | bool | None] = {}
    frames: dict[str, Any] | None = None
    musdb: str | None = None


class _Summary(_Form):
    model: str
    device: str = ""
    dtype: str = ""
    reference: str = ""
    tracks: int = 0
    definitions: dict[str, str]
    means: dict[str, dict[str, _Score]] = {}
    counts: dict[str, int] = {}
    scores: list[_StemScore]
    skipped: list[str] = []
    notes: list[str] = []
    marks: list[str] = []
    provenance: _Provenance
    bsseval: dict[str, dict[str, _Spread]] = {}
    medians: dict[str, dict[str, dict[str, float]]]
    ill_conditioned: list[str] = []


class _Frame(_Form):
    time: float
    metrics: dict[str, float | None]


class _Target(_Form):
    name: str
    frames: list[_Frame]


class _Track(_Form):
    targets: list[_Target] = []


def read_summary(path: Path) -> dict[str, Any]:
    """A ``summary.json``, or what ``mssctl eval --json`` printed.

    Raises:
        MssctlError: unreadable, changed since it was written, or of another form (exit 4).
    """
    tree = read(path)
    data = tree.get("data")
    return _checked(_Summary, data if isinstance(data, dict) else tree, path)


def read_track(path: Path) -> dict[str, Any]:
    """The document of a track; ``targets`` is there if it was scored in frames.

    Raises:
        MssctlError: unreadable, or of another form (exit 4).
    """
    return _checked(_Track, read(path), path)


def _checked(form: type[_Form], tree: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        return form.model_validate(tree).model_dump(exclude_unset=form is _Track)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise MssctlError(
            f"{path}: not a result of mssctl eval: {shown(place)[1:-1]}: {first['msg']}",
            hint="give the summary.json that `mssctl eval --out DIR` writes, or DIR",
        ) from None
