"""Layout ``csv``: a table that names the files of each song, or of each sample."""

import csv
import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from mssctl.data.folders import unreadable
from mssctl.data.names import MIXTURE, fold, some, song_name, split_of, stem_of
from mssctl.data.songs import SPLITS, Listing, SongFiles
from mssctl.errors import MssctlError, did_you_mean

_NAMES = ("song", "name", "track")
_KINDS = ("stem", "instrum", "instrument")
_FORMS = "columns: song, vocals, drums, ... and split if you like; or: stem, path"
_DELIMITERS = ",;\t"
_SHOWN = 200  # characters of a cell in a message

Row = tuple[str, Mapping[str, str]]  # "table, line N"; column -> cell that is not empty


def read_table(path: Path, stems: tuple[str, ...]) -> Listing:
    """Read a CSV file with a head line; commas, semicolons or tabs stand between its cells.

    Either one row per song with a column per stem (and ``mixture``, ``song``), or one row per
    sample with the columns ``stem`` and ``path``. A column ``split`` says ``train``, ``valid`` or
    ``test``; without it all rows are ``train``. Paths are relative to the table; an empty cell is
    a stem that the song lacks.

    Raises:
        MssctlError: not readable, a column that means nothing, more cells than columns, or a row
            that names no file or no stem; with its line.
    """
    columns, rows = _rows(path, stems)
    whole = [column for column in columns if column in stems]
    kind = next((column for column in columns if column in _KINDS), None)
    if whole and (kind or "path" in columns):
        raise MssctlError(
            f"{path}: columns of songs and of samples in one table ({some(columns)})", hint=_FORMS
        )
    if not whole and not (kind and "path" in columns):
        raise MssctlError(
            f"{path}: no column for a stem; columns found: {some(columns) or 'none'}", hint=_FORMS
        )
    splits: dict[str, list[SongFiles]] = {}
    for where, row in rows:
        split = _split(row.get("split", ""), where)
        entry = _song(path, row, whole, where) if whole else _sample(path, row, kind, stems, where)
        splits.setdefault(split, []).append(entry)
    if not splits:
        raise MssctlError(f"{path}: no songs here", hint=_FORMS)
    return Listing(path, "csv", splits)


def _rows(path: Path, stems: tuple[str, ...]) -> tuple[list[str], list[Row]]:
    """The columns by the names they mean, and the rows that are not empty."""
    text = _text(path)
    head = text.split("\n", 1)[0]

    def known(delimiter: str) -> int:
        cells = next(csv.reader([head], delimiter=delimiter, skipinitialspace=True), [])
        return sum(_column(cell, stems) is not None for cell in cells)

    rows: list[Row] = []
    try:
        delimiter = max(_DELIMITERS, key=known)  # the first of equals
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
        columns = _columns(path, next(reader, []), stems)
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            stripped = [cell.strip() for cell in cells]
            if any(stripped[len(columns) :]):
                raise MssctlError(
                    f"{where}: {len(cells)} cells, but {len(columns)} columns",
                    hint="put a path with a comma in it between quotes",
                )
            row = {name: cell for name, cell in zip(columns, stripped, strict=False) if cell}
            if row:
                rows.append((where, row))
    except csv.Error as error:
        raise MssctlError(f"{path}: not a CSV file in UTF-8: {error}") from None
    return columns, rows


def _text(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait forever
            raise MssctlError(f"{path}: not a regular file")
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise MssctlError(f"{path}: no such file") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError as error:
        raise MssctlError(f"{path}: not a CSV file in UTF-8: {error.reason}") from None


def _columns(path: Path, cells: list[str], stems: tuple[str, ...]) -> list[str]:
    """What each column means; none twice, and none that means nothing."""
    while cells and not cells[-1].strip():
        cells.pop()  # spreadsheets write empty ones
    columns: list[str] = []
    for number, cell in enumerate(cells, 1):
        name = _column(cell, stems)
        where = f"{path}, line 1, column {number}"
        if name is None:
            known = [*stems, MIXTURE, "song", "split", "stem", "path"]
            if not any(_column(other, stems) for other in cells):
                break  # no table of songs at all
            raise MssctlError(
                f"{where}: unknown column '{cell.strip()[:_SHOWN]}'",
                hint=did_you_mean(fold(cell), known),
            )
        if name in columns:
            raise MssctlError(f"{where}: a second column '{name}'", hint="remove one")
        columns.append(name)
    return columns or [cell.strip()[:_SHOWN] for cell in cells]


def _column(cell: str, stems: tuple[str, ...]) -> str | None:
    return stem_of(cell, (*stems, *_NAMES, *_KINDS, "path", "split", MIXTURE))


def _song(table: Path, row: Mapping[str, str], stems: list[str], where: str) -> SongFiles:
    files = {stem: _file(table, row[stem], where) for stem in (*stems, MIXTURE) if stem in row}
    mixture = files.pop(MIXTURE, None)
    if not files:
        raise MssctlError(f"{where}: names no stem", hint=_FORMS)
    line = where.rpartition(", ")[2]
    given = next((row[name] for name in _NAMES if name in row), line)
    return SongFiles(song_name(given), next(iter(files.values())).parent, files, mixture)


def _sample(
    table: Path, row: Mapping[str, str], kind: str | None, stems: tuple[str, ...], where: str
) -> SongFiles:
    word = row.get(kind or "", "")
    stem = stem_of(word, stems)
    if stem is None:
        raise MssctlError(
            f"{where}, column '{kind}': '{word[:_SHOWN]}' is not a stem of the model",
            hint=did_you_mean(fold(word), list(stems)),
        )
    sample = _file(table, row.get("path", ""), where)
    return SongFiles(song_name(sample.name), sample, {stem: sample}, loose=True)


def _file(table: Path, cell: str, where: str) -> Path:
    """The file that a cell names; whether it can be read is seen where it is opened."""
    path = table.parent / cell
    if not cell or not os.path.lexists(path):
        raise MssctlError(
            f"{where}: no such file: '{cell[:_SHOWN]}'", hint="paths are relative to the CSV"
        )
    return path


def _split(word: str, where: str) -> str:
    split = split_of(word) if word else "train"
    if split is None:
        raise MssctlError(
            f"{where}: no split '{word[:_SHOWN]}'", hint=f"known: {', '.join(SPLITS)}"
        )
    return split
