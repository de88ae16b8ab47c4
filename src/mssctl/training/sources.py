"""The songs of a run: where they lie (``data.json``) and which they were (``songs.json``).

A song is known by its place below its data root and, per stem, by the file's size, its frames and
a digest of a few kilobytes from its middle. So it is recognized where a data folder was moved, and
where it has another name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mssctl.data.cache import Cache
from mssctl.data.songs import Song, SongSets
from mssctl.data.training_set import find_songs
from mssctl.documents import read_json, sealed, unsealed
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter
from mssctl.models.run_config import RunConfig

DATA = "data.json"
SONGS = "songs.json"

Form = dict[str, list[Any]]  # stem -> bytes, frames, digest

_SAMPLE = 4096  # bytes
_SHOWN = 3  # names in a message


@dataclass(frozen=True)
class SongList:
    """Place of each song -> its form.

    Attributes:
        train: songs that are trained on.
        valid: held-out songs.
        earlier: place and form of songs that were trained on in earlier sessions only.
    """

    train: dict[str, Form]
    valid: dict[str, Form]
    earlier: list[list[Any]] = field(default_factory=list)

    @property
    def validation(self) -> str:
        """Identifies the set of held-out songs, wherever they are stored."""
        text = json.dumps(sorted(self.valid.values(), key=json.dumps))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def text(self) -> str:
        """As JSON with a checksum."""
        return json.dumps(sealed(asdict(self)), indent=1, allow_nan=False)


@dataclass(frozen=True)
class Sources:
    """Folders of songs, as absolute paths, how they are laid out, and names of their stems."""

    roots: list[str]
    valid: str | None
    layout: str
    stem_map: dict[str, str] = field(default_factory=dict)

    @classmethod
    def stored(cls, path: Path) -> Sources:
        """Read ``data.json``.

        Raises:
            MssctlError: it is damaged.
        """
        try:
            found = cls(**read_json(path))
        except TypeError as error:
            raise MssctlError(f"{path}: damaged: {error}") from None
        roots: Any = found.roots
        texts = roots if isinstance(roots, list) and roots else [None]
        texts = [*texts, found.layout, found.valid or ""]
        named: Any = found.stem_map
        texts += [*named, *named.values()] if isinstance(named, dict) else [None]
        if not all(isinstance(text, str) and "\0" not in text for text in texts):
            raise MssctlError(f"{path}: damaged: it names no data folders")
        return found

    def text(self) -> str:
        """As JSON."""
        values = asdict(self)
        if not self.stem_map:
            del values["stem_map"]  # as earlier versions read and write it
        return json.dumps(values, indent=2)

    def moved(self, roots: list[str], valid: str | None) -> Sources:
        """The same sources in other places.

        Raises:
            MssctlError: other ones than a move explains (exit 2).
        """
        if roots and len(roots) != len(self.roots):
            raise MssctlError(
                f"the run has {len(self.roots)} data folders, --data names {len(roots)}",
                hint=f"name all of them in this order: {', '.join(self.roots)}",
                exit_code=ExitCode.USAGE,
            )
        if valid and not self.valid:
            raise MssctlError(
                "--valid: the held-out songs of this run are in its data folders",
                hint="leave it out",
                exit_code=ExitCode.USAGE,
            )
        return replace(self, roots=roots or self.roots, valid=valid or self.valid)

    def listed(self, songs: SongSets, report: Reporter) -> SongList:
        """The songs as they are now.

        Raises:
            MssctlError: a file cannot be read.
        """
        roots = [Path(root) for root in self.roots]
        with Cache(report) as cache:
            return SongList(
                _entries(songs.train, roots, cache),
                _entries(songs.valid, [Path(self.valid)] if self.valid else roots, cache),
            )

    def songs(self, config: RunConfig, report: Reporter) -> SongSets:
        """Find them, and say how many there are."""
        weights = config.data.weights
        if weights and len(weights) != len(self.roots):
            raise MssctlError(
                f"data.weights has {len(weights)} numbers, there are {len(self.roots)} data roots",
                hint="one weight per --data, in their order",
                exit_code=ExitCode.USAGE,
            )
        songs = find_songs(
            [Path(root) for root in self.roots],
            config.audio,
            layout=self.layout,
            valid=Path(self.valid) if self.valid else None,
            table=self.stem_map,
            report=report,
        )
        report(Notice(f"{len(songs.train)} training songs, {len(songs.valid)} held out"))
        return songs


def absolute(path: str | Path) -> str:
    """A path as ``data.json`` holds it."""
    return str(Path(path).expanduser().absolute())


def stored_songs(run: Path) -> SongList | None:
    """The list in a run folder; None in a run of an earlier version.

    Raises:
        MssctlError: it is damaged (exit 4).
    """
    path = run / SONGS
    if not path.exists():
        return None
    try:
        return SongList(**unsealed(read_json(path), str(path)))
    except MssctlError as error:
        raise MssctlError(
            error.message, hint=f"move it away: {run} then continues without its list of songs"
        ) from None
    except TypeError as error:
        raise MssctlError(f"{path}: damaged: {error}") from None


def compared(before: SongList | None, now: SongList, report: Reporter) -> SongList:
    """``now``, with what was trained on before; says what has changed.

    Raises:
        MssctlError: a song that was trained on is now a validation song (exit 3).
    """
    if before is None:
        report(Notice("a run of an earlier version: its songs are listed from now on"))
        return now
    gone = [[place, form] for place, form in before.train.items() if now.train.get(place) != form]
    earlier = [*before.earlier, *(entry for entry in gone if entry not in before.earlier)]
    trained = {json.dumps(form): place for place, form in [*earlier, *before.train.items()]}
    for place, form in now.valid.items():
        if json.dumps(form) in trained and before.valid.get(place) != form:
            raise MssctlError(
                f"{place}: a validation song that this run was trained on, as "
                f"{trained[json.dumps(form)]}",
                hint="take it out of the validation songs: its score would say nothing",
                exit_code=ExitCode.ENVIRONMENT,
            )
    pairs = (("training", before.train, now.train), ("validation", before.valid, now.valid))
    for split, old, new in pairs:
        if words := _difference(old, new):
            report(
                Notice(f"{split} songs changed since the last session: {words}", level="warning")
            )
    return SongList(now.train, now.valid, earlier)


def _difference(old: Mapping[str, Form], new: Mapping[str, Form]) -> str:
    changes = {
        "added": [place for place in new if place not in old],
        "removed": [place for place in old if place not in new],
        "replaced": [place for place in new if old.get(place, new[place]) != new[place]],
    }
    words = [f"{len(found)} {what} ({_some(found)})" for what, found in changes.items() if found]
    return "; ".join(words)


def _some(names: Sequence[str]) -> str:
    shown = [name if len(name) <= 60 else f"{name[:57]}..." for name in sorted(names)[:_SHOWN]]
    return ", ".join(shown) + (", ..." if len(names) > _SHOWN else "")


def _entries(songs: Sequence[Song], roots: Sequence[Path], cache: Cache) -> dict[str, Form]:
    found: dict[str, Form] = {}
    for song in songs:
        place = name = _place(song, roots)
        number = 1
        while place in found:
            number += 1
            place = f"{name} ({number})"
        if song.folder.is_file():  # its stems may be decoded copies
            found[place] = {"all": [*_form(song.folder, cache), song.frames]}
        else:
            found[place] = {
                stem: [*_form(file.path, cache), file.frames]
                for stem, file in sorted(song.stems.items())
            }
    return found


def _place(song: Song, roots: Sequence[Path]) -> str:
    """The song's place below its root, which may move; the number of the root where there are more.

    A table's songs may lie anywhere.
    """
    root = roots[min(song.root, len(roots) - 1)]
    base = root if root.is_dir() else root.parent
    try:
        place = song.folder.relative_to(base).as_posix()
    except ValueError:
        place = str(song.folder)
    if song.name != Path(place).name:
        place = f"{place}/{song.name}"
    return f"{song.root + 1}: {place}" if len(roots) > 1 else place


def _form(path: Path, cache: Cache) -> list[Any]:
    """Bytes, and a digest of some of them."""
    try:
        known: list[Any] | None = cache.get("sample", [path])
        if known is None:
            size = path.stat().st_size
            with path.open("rb") as stream:
                stream.seek(max(0, size // 2 - _SAMPLE // 2))
                sample = stream.read(_SAMPLE)
            known = [size, hashlib.blake2b(sample, digest_size=8).hexdigest()]
            cache.put("sample", [path], known)
    except OSError as error:
        raise MssctlError(f"{path}: cannot be read: {error.strerror}") from None
    return known
