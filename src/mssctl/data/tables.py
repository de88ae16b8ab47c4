"""Layout ``csv``: a table that names the files of each song, or of each sample."""

from __future__ import annotations

import csv
from pathlib import Path

from mssctl.data.songs import SPLITS, Entry, Listing
from mssctl.errors import MssctlError

_NAMES = ("song", "name", "track")
_KINDS = ("stem", "instrum", "instrument")
_FORMS = "columns: song, vocals, drums, ... and split if you like; or: stem, path"


def read_table(path: Path, stems: tuple[str, ...]) -> Listing:
    """Read a CSV file with a head line.

    Either one row per song with a column per stem (and ``mixture``, ``song``), or one row per
    sample with the columns ``stem`` and ``path``. A column ``split`` says ``train``, ``valid`` or
    ``test``; without it all rows are ``train``. Paths are relative to the table; an empty cell is
    a stem that the song lacks.

    Raises:
        MssctlError: not readable, no usable columns, or a row that names no file; with its line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [column.strip() for column in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise MssctlError(f"{path}: no such file") from None
    except OSError as error:
        raise MssctlError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise MssctlError(f"{path}: not a CSV file in UTF-8: {error}") from None
    kind = next((column for column in columns if column in _KINDS), None)
    found = [column for column in columns if column in stems]
    if not found and not (kind and "path" in columns):
        raise MssctlError(f"{path}: no column for a stem", hint=_FORMS)
    splits: dict[str, list[Entry]] = {}
    skipped = []
    for line, row in rows:
        place = f"{path}, line {line}"
        split = _split((row.get("split") or "").strip().lower(), place)
        if found:
            splits.setdefault(split, []).append(_song(path, row, found, place, line))
        elif kind:
            stem = (row[kind] or "").strip()
            if stem not in stems:
                skipped.append(f"{place}: '{stem}' is not a stem of the model: skipped")
                continue
            sample = _file(path, row["path"] or "", place)
            entry = Entry(sample.name, sample, {stem: sample}, loose=True)
            splits.setdefault(split, []).append(entry)
    if not any(splits.values()):
        raise MssctlError(f"{path}: no songs here", hint=_FORMS)
    known = {*stems, *_NAMES, *_KINDS, "path", "split", "mixture"}
    skipped += [
        f"{path}: column '{column}' is not a stem of the model: skipped"
        for column in columns
        if column not in known
    ]
    return Listing(path, "csv", splits, skipped)


def _song(table: Path, row: dict[str, str], stems: list[str], place: str, line: int) -> Entry:
    cells = {stem: (row[stem] or "").strip() for stem in [*stems, "mixture"] if stem in row}
    files = {stem: _file(table, cell, place) for stem, cell in cells.items() if cell}
    mixture = files.pop("mixture", None)
    if not files:
        raise MssctlError(f"{place}: names no stem", hint=_FORMS)
    given = next((row[name] for name in _NAMES if row.get(name)), None)
    return Entry(given or f"line {line}", next(iter(files.values())).parent, files, mixture)


def _file(table: Path, cell: str, place: str) -> Path:
    path = table.parent / cell.strip()
    if not cell.strip() or not path.is_file():
        raise MssctlError(f"{place}: no such file: '{cell}'", hint="paths are relative to the CSV")
    return path


def _split(word: str, place: str) -> str:
    if word in ("", "training"):
        return "train"
    if word == "validation":
        return "valid"
    if word not in SPLITS:
        raise MssctlError(f"{place}: no split '{word}'", hint=f"known: {', '.join(SPLITS)}")
    return word
