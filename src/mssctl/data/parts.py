"""Data sets whose stems are several files each: MoisesDB, Slakh2100, label noise, and others.

Built from the descriptions that the sets come with. A stem is the sum of its files (`summed`).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mssctl.data.folders import entries, folders, is_folder, is_song, refuse_broken_link, walk
from mssctl.data.names import MIXTURE, fold, is_audio, some, song_name, split_of, stem_of
from mssctl.data.songs import SongFiles
from mssctl.data.stem_map import NOTHING, StemNames
from mssctl.documents import read_json, read_yaml
from mssctl.errors import ExitCode, MssctlError

Found = tuple[list[SongFiles], list[str]]

_MOISES = "data.json"
_SLAKH = "metadata.yaml"


@dataclass
class _Collected:
    """The files of the songs so far, and what they leave out: kind -> places."""

    parts: defaultdict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    left_out: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, stem: str, path: Path, song: Path) -> None:
        """Add a file to a stem, or to what is left out."""
        if stem == NOTHING:
            self.left_out["for which the model has no stem left out"].append(_shown(path, song))
        else:
            self.parts[stem].append(path)

    def song(self, folder: Path) -> SongFiles | None:
        """The song of the files since the last one; None if there is no stem."""
        parts = {stem: tuple(paths) for stem, paths in self.parts.items()}
        self.parts.clear()
        if not set(parts) - {MIXTURE}:
            return None
        return SongFiles(song_name(folder.name), folder, {}, parts=parts)


def moises_songs(place: Path, names: StemNames) -> Found:
    """MoisesDB: ``PLACE/ID/data.json``, and the audio at ``ID/STEM/TRACK.wav``."""
    found = _Collected()
    songs = []
    for folder in _having(place, _MOISES):
        where = folder / _MOISES
        for stem in _list(read_json(where), "stems", where):
            name = _text(stem, "stemName", where)
            for track in _list(stem, "tracks", where):
                suffix = _text(track, "extension", where).lstrip(".")
                path = folder / name / f"{_text(track, 'id', where)}.{suffix}"
                bleed = track.get("has_bleed") is True
                target = names.of(name, bleed=bleed)
                if target is None:
                    raise names.unknown(where, name)
                if target != NOTHING:
                    _exists(path, where)
                    if bleed:
                        found.left_out["with bleed of other instruments used"].append(
                            _shown(path, folder)
                        )
                found.add(target, path, folder)
        songs.append((folder, found.song(folder)))
    return _result(place, songs, found)


def slakh_songs(place: Path, names: StemNames) -> Found:
    """Slakh2100: ``PLACE/TRACK/metadata.yaml``, and ``stems/SNN.flac`` and ``mix.flac`` there."""
    found = _Collected()
    songs = []
    for folder in _having(place, _SLAKH):
        where = folder / _SLAKH
        stems = read_yaml(where, exit_code=ExitCode.BAD_INPUT).get("stems")
        if not isinstance(stems, Mapping):
            raise _odd(where, "stems")
        for number, stem in stems.items():
            if not isinstance(stem, Mapping):
                raise _odd(where, f"stems.{number}")
            path = folder / "stems" / f"{number}.flac"
            if stem.get("audio_rendered") is False:
                found.left_out["that the set has not rendered left out"].append(
                    _shown(path, folder)
                )
                continue
            name = "Drums" if stem.get("is_drum") is True else _text(stem, "inst_class", where)
            target = names.of(name)
            if target is None:
                raise names.unknown(where, name)
            if target != NOTHING:
                _exists(path, where)
            found.add(target, path, folder)
        mixture = folder / "mix.flac"
        refuse_broken_link(mixture)
        if mixture.exists():
            found.parts[MIXTURE].append(mixture)
        songs.append((folder, found.song(folder)))
    return _result(place, songs, found)


def labeled_songs(place: Path, names: StemNames) -> Found:
    """``PLACE/SONG/STEM_ID.wav``, several for a stem: the label noise set of SDXDB23."""
    patterns = {f"{stem}_*": stem for stem in (*names.stems, MIXTURE)}
    own = StemNames(names.stems, {**names.table, **patterns})
    return mapped_songs(place, own)


def mapped_songs(place: Path, names: StemNames) -> Found:
    """``PLACE/SONG/…/NAME.wav``, where a table says which stem a name is.

    The name of the file counts, then those of the folders between it and the song. A file that has
    the name of a stem needs no entry.
    """
    found = _Collected()
    songs = []
    for folder in folders(place):
        if split_of(folder.name):
            continue
        unnamed = []
        for path in sorted(walk(folder)):
            if not is_audio(path):
                continue
            inner = path.relative_to(folder).parts[:-1]
            target = names.by_table([path.stem, *reversed(inner)])
            target = target or stem_of(path.stem, (*names.stems, MIXTURE))
            if target is None:
                unnamed.append(_shown(path, folder))
            elif target == NOTHING:
                found.left_out["left out by the table"].append(_shown(path, folder))
            else:
                found.add(target, path, folder)
        song = found.song(folder)
        if song:
            found.left_out["that no name fits skipped"] += unnamed
        songs.append((folder, song))
    return _result(place, songs, found)


def part_layout(place: Path) -> str | None:
    """The name of the layout, if the songs in a folder are of a set with a file that says so."""
    for folder in folders(place):
        inside = {path.name for path in entries(folder)}
        if _MOISES in inside:
            return "moisesdb"
        if _SLAKH in inside:
            return "slakh"
    return None


def is_labeled(place: Path, stems: tuple[str, ...]) -> bool:
    """Whether the first song in a folder has files ``STEM_ID.wav`` and none ``STEM.wav``."""
    for folder in folders(place):
        names = [fold(path.stem) for path in entries(folder) if is_audio(path)]
        if names:
            heads = {name.partition("_")[0] for name in names if "_" in name}
            wanted = {fold(stem) for stem in stems}
            return bool(heads & wanted) and not wanted & set(names)
    return False


def has_parts(root: Path, stems: tuple[str, ...]) -> bool:
    """Whether songs in a folder, or in one below it, are of a set with several files a stem."""
    if is_song(root, stems):
        return False
    places = [root, *(folder for folder in folders(root) if not is_song(folder, stems))]
    return any(part_layout(place) is not None or is_labeled(place, stems) for place in places)


def _having(place: Path, name: str) -> Iterator[Path]:
    """The folders in a place that have a file of this name."""
    for folder in folders(place):
        path = folder / name
        refuse_broken_link(path)
        if path.exists() and not is_folder(path):
            yield folder


def _result(place: Path, songs: list[tuple[Path, SongFiles | None]], found: _Collected) -> Found:
    without = [folder.name for folder, song in songs if song is None]
    if without:
        found.left_out["(songs) without a stem of the model skipped"] = without
    sentences = [
        f"{place}: {len(names)} file{'s' if len(names) > 1 else ''} {what}: {some(names)}"
        if not what.startswith("(")
        else f"{place}: {len(names)} song{'s' if len(names) > 1 else ''} {what[8:]}: {some(names)}"
        for what, names in found.left_out.items()
        if names
    ]
    return [song for _, song in songs if song], sentences


def _shown(path: Path, song: Path) -> str:
    return f"{song.name}/{path.relative_to(song).as_posix()}"


def _exists(path: Path, where: Path) -> None:
    refuse_broken_link(path)
    if not path.exists():
        raise MssctlError(
            f"{path}: no such file, but {where.name} of this song names it",
            hint="unpack or download the song again",
        )


def _list(found: Mapping[str, Any], key: str, where: Path) -> list[Mapping[str, Any]]:
    value = found.get(key)
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise _odd(where, key)
    return value


def _text(found: Mapping[str, Any], key: str, where: Path) -> str:
    value = found.get(key)
    unsafe = not isinstance(value, str) or not value or "/" in value or "\\" in value
    if unsafe or "\0" in str(value) or value in (".", ".."):
        raise _odd(where, key)
    return str(value)


def _odd(path: Path, key: str) -> MssctlError:
    return MssctlError(
        f"{path}: damaged: '{key}' is missing or makes no sense",
        hint="unpack or download the song again",
    )
