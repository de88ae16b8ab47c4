"""The layouts: how songs lie in folders. Only names are looked at here, no file is opened."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mssctl.data import musdb18
from mssctl.data.folders import (
    audio_files,
    deeper,
    entries,
    folders,
    is_folder,
    is_song,
    only,
    split_folder,
    walk,
)
from mssctl.data.names import (
    MIXTURE,
    STEM_MP4,
    fold,
    is_audio,
    is_stem_mp4,
    some,
    song_name,
    split_of,
    stem_mp4_name,
    stem_of,
)
from mssctl.data.parts import (
    is_labeled,
    labeled_songs,
    mapped_songs,
    moises_songs,
    part_layout,
    slakh_songs,
)
from mssctl.data.songs import Listing, SongFiles
from mssctl.data.stem_map import StemNames
from mssctl.data.tables import read_table
from mssctl.errors import ExitCode, MssctlError, did_you_mean

Found = tuple[list[SongFiles], list[str]]  # songs, and sentences on what was passed over
_Reader = Callable[[Path, StemNames], Found]


def song_folders(place: Path, stems: tuple[str, ...]) -> Found:
    """``PLACE/SONG/{stem}.wav``, or another format."""
    songs: list[SongFiles] = []
    without: list[str] = []
    other: list[str] = []
    for path in entries(place):
        if not is_folder(path):
            other += [path.name] if is_audio(path) or is_stem_mp4(path) else []
        elif not _is_split(path, stems):
            song = _song(path, stems, other)
            songs += [song] if song else []
            without += [] if song else [path.name]
    return songs, [
        *_passed(place, without, "folder", "without a stem"),
        *_passed(place, other, "file", "that no song can use"),
    ]


def sample_folders(place: Path, stems: tuple[str, ...]) -> Found:
    """``PLACE/{stem}/…/*.wav``, or another format: samples of one stem each, in no relation."""
    songs: list[SongFiles] = []
    without: list[str] = []
    other: list[str] = []
    for folder in folders(place):
        stem = stem_of(folder.name, stems)
        if stem is None:
            without += [folder.name] if split_of(folder.name) not in ("valid", "test") else []
            continue
        for path in sorted(walk(folder)):
            name = path.relative_to(place).as_posix()
            if is_audio(path):
                songs.append(SongFiles(song_name(name), path, {stem: path}, loose=True))
            else:
                other.append(name)
    return songs, [
        *_passed(place, without, "folder", "without a stem"),
        *_passed(place, other, "file", "without a suffix of audio"),
    ]


def stem_containers(place: Path, _stems: tuple[str, ...]) -> Found:
    """``PLACE/*.stem.mp4``. The stems have the names that MUSDB18 gives them."""
    inside = entries(place)
    songs = [SongFiles(stem_mp4_name(path), path, {}) for path in inside if is_stem_mp4(path)]
    other = [
        path.name
        for path in inside
        if not is_stem_mp4(path)
        and (is_audio(path) or (is_folder(path) and split_of(path.name) is None))
    ]
    beside = f"beside the {STEM_MP4} files"
    return songs, _passed(place, other, "name", beside)


def _by_stems(reader: Callable[[Path, tuple[str, ...]], Found]) -> _Reader:
    return lambda place, names: reader(place, names.stems)


_PLAIN_SONGS = _by_stems(song_folders)
_FOLDERS: dict[str, _Reader] = {
    "musdb18": _by_stems(stem_containers),
    "musdb18hq": _PLAIN_SONGS,
    "stems": _PLAIN_SONGS,
    "samples": _by_stems(sample_folders),
    "moisesdb": moises_songs,
    "slakh": slakh_songs,
    "labelnoise": labeled_songs,
    "mapped": mapped_songs,
}
# Whose files have the names of a set's own, for which --stem-map can give others.
_NAMED = ("moisesdb", "slakh", "labelnoise", "mapped")
LAYOUTS = (*_FOLDERS, "csv")
_RECOGNIZED = ("musdb18", "stems", "samples")
_PART_FILES = {
    "moisesdb": "ID/data.json and ID/STEM/TRACK.wav",
    "slakh": "TRACK/metadata.yaml and TRACK/stems/S00.flac",
    "labelnoise": "SONG/STEM_ID.wav",
    "mapped": "SONG/NAME.wav, with each NAME in `stem_map`",
}


def list_songs(
    root: Path,
    stems: tuple[str, ...],
    *,
    layout: str = "auto",
    splits: Sequence[str],
    table: Mapping[str, str] | None = None,
) -> Listing:
    """The songs below ``root``, for the ``splits`` asked for and no others.

    A root holds a folder per split, or is itself the ``train`` split. In the MUSDB18 layouts,
    musdb's own 14 validation tracks are taken out of ``train``, unless there is a folder ``valid``.
    A level of folders that an archive added is passed through.

    Args:
        root: a folder or table.
        stems: of the model.
        layout: a name in `LAYOUTS`, or ``auto``.
        splits: names of `songs.SPLITS`.
        table: name of a file -> stem, for sets that have names of their own.

    Raises:
        MssctlError: no such folder, no songs, no such layout, something cannot be read, or a table
            that the layout has no use for.
    """
    names = StemNames(stems, table or {})
    if _is_table(root, layout):
        _refuse_table(root, "csv", names)
        rows = read_table(root, stems).splits
        kept = {split: songs for split, songs in rows.items() if split in splits}
        return Listing(root, "csv", kept)
    skipped: list[str] = []
    root = _unpacked(root, names, layout, splits, skipped)
    places = {split: split_folder(root, split, stems) for split in splits}
    if places.get("train") is None:
        if not any(places.values()) or _holds(root, names, layout):
            places["train"] = root
    else:
        beside = [path.name for path in folders(root) if split_of(path.name) is None]
        skipped += _passed(root, beside, "folder", "beside the splits")
    settled = {
        split: _settled(place, lambda folder: _holds(folder, names, layout), skipped)
        for split, place in places.items()
        if place is not None
    }
    name = _layout(next(iter(settled.values())), names, layout)
    found = {split: _list_place(place, names, name, skipped) for split, place in settled.items()}
    if name.startswith("musdb18") and "valid" not in found and "valid" in splits:
        _hold_out(root, found)
    return Listing(root, name, found, skipped)


def list_place(
    root: Path,
    stems: tuple[str, ...],
    *,
    layout: str = "auto",
    table: Mapping[str, str] | None = None,
) -> Listing:
    """All songs of a folder that is one split, or the held-out rows of a table."""
    names = StemNames(stems, table or {})
    if _is_table(root, layout):
        _refuse_table(root, "csv", names)
        rows = read_table(root, stems).splits
        songs = rows.get("valid") or rows.get("train") or []
        return Listing(root, "csv", {"valid": songs})
    skipped: list[str] = []
    root = _unpacked(root, names, layout, (), skipped)
    name = _layout(root, names, layout)
    return Listing(root, name, {"valid": _list_place(root, names, name, skipped)}, skipped)


def _refuse_table(root: Path, layout: str, names: StemNames) -> None:
    """Refuse a table of names where nothing reads it: no silent setting."""
    if names.table and layout not in _NAMED:
        raise MssctlError(
            f"{root}: `stem_map` does nothing with the layout {layout}",
            hint=f"it is for {', '.join(_NAMED)}",
            exit_code=ExitCode.USAGE,
        )


def _is_table(root: Path, layout: str) -> bool:
    if layout != "auto" and layout not in LAYOUTS:
        raise MssctlError(
            f"no data layout '{layout}'",
            hint=did_you_mean(layout, ["auto", *LAYOUTS]),
            exit_code=ExitCode.USAGE,
        )
    return layout == "csv" or root.suffix.lower() == ".csv"


def _unpacked(
    root: Path, names: StemNames, layout: str, splits: Sequence[str], skipped: list[str]
) -> Path:
    """The folder of the songs or splits of a root, see `_settled`."""
    if not is_folder(root):
        raise MssctlError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}")

    def holds(folder: Path) -> bool:
        named = any(split_folder(folder, split, names.stems) for split in splits)
        return named or _holds(folder, names, layout)

    return _settled(root, holds, skipped)


def _settled(place: Path, holds: Callable[[Path], bool], skipped: list[str]) -> Path:
    """A place, or the folder deeper in it that holds its songs, as archives unpack them.

    A sentence on the latter is added to ``skipped``.
    """
    inner = None if holds(place) else deeper(place, holds)
    if inner is None:
        return place
    skipped.append(f"{place}: no songs here; those in {inner} are taken")
    return inner


def _holds(folder: Path, names: StemNames, layout: str) -> bool:
    """Whether there are songs in a folder, in this layout or any."""
    if layout == "auto":
        if part_layout(folder) or is_labeled(folder, names.stems):
            return True
        readers = [_FOLDERS["mapped"]] if names.table else [_FOLDERS[n] for n in _RECOGNIZED]
    else:
        readers = [_FOLDERS[layout]]
    return any(reader(folder, names)[0] for reader in dict.fromkeys(readers))


def _layout(place: Path, names: StemNames, name: str) -> str:
    """The layout named, or the one that a folder of songs looks like."""
    if name != "auto":
        return name
    stems = names.stems
    own = part_layout(place)
    if own:
        return own
    if is_labeled(place, stems):
        return "labelnoise"
    if names.table:
        return "mapped"
    inside = [path.name for path in folders(place)]
    if any(map(is_stem_mp4, entries(place))):
        return "musdb18"
    if {song_name(inner) for inner in inside} & musdb18.validation_tracks():
        return "musdb18hq"
    if any(stem_of(inner, stems) for inner in inside) and not song_folders(place, stems)[0]:
        return "samples"
    return "stems"


def _list_place(place: Path, names: StemNames, name: str, skipped: list[str]) -> list[SongFiles]:
    """The songs of one folder; sentences on what it holds besides are added to ``skipped``."""
    _refuse_table(place, name, names)
    songs, rest = _FOLDERS[name](place, names)
    if not songs:
        besides = "".join(f"; {sentence.removeprefix(f'{place}: ')}" for sentence in rest)
        raise MssctlError(
            f"{place}: no songs here{besides}", hint=_expected(place, name, names.stems)
        )
    skipped += rest
    return songs


def _song(folder: Path, stems: tuple[str, ...], other: list[str]) -> SongFiles | None:
    """The song in a folder, if it has a stem; files that look like one are added to ``other``."""
    inside = entries(folder)
    files = audio_files(inside)
    own = {stem: only(files[fold(stem)]) for stem in stems if fold(stem) in files}
    for path in inside:
        stem = stem_of(path.stem, stems) if path.suffix and not is_audio(path) else None
        if stem and stem not in own:
            other.append(f"{folder.name}/{path.name}")
    if not own:
        return None
    mixture = files.get(MIXTURE)
    return SongFiles(song_name(folder.name), folder, own, only(mixture) if mixture else None)


def _is_split(path: Path, stems: Iterable[str]) -> bool:
    """Whether a folder among songs is a split of its own; a test split always is."""
    split = split_of(path.name)
    return split == "test" or (split == "valid" and not is_song(path, stems))


def _passed(place: Path, names: Sequence[str], what: str, why: str) -> list[str]:
    """A sentence on what was passed over, if anything was."""
    if not names:
        return []
    count = f"{len(names)} {what}{'s' if len(names) > 1 else ''}"
    return [f"{place}: {count} {why} skipped: {some(names)}"]


def _expected(place: Path, layout: str, stems: tuple[str, ...]) -> str:
    if is_song(place, stems):
        return "this folder is one song; name the folder that it lies in"
    if layout == "musdb18":
        return f"expected SONG{STEM_MP4}"
    if layout == "samples":
        return f"expected {stems[0]}/*.wav and so on"
    if layout in _PART_FILES:
        return f"expected {_PART_FILES[layout]}"
    made = "`mssctl data synth` makes such a folder"
    return f"expected SONG/{stems[0]}.wav and so on; `stem_map` takes other names; {made}"


def _hold_out(root: Path, found: dict[str, list[SongFiles]]) -> None:
    """Move musdb's validation tracks from ``train`` to ``valid``."""
    names = musdb18.validation_tracks()
    held = [song for song in found.get("train", ()) if song.name in names]
    if held:
        found["train"] = [song for song in found["train"] if song.name not in names]
        found["valid"] = held
        if not found["train"]:
            raise MssctlError(
                f"{root}: only validation tracks of MUSDB18", hint="there is nothing to train on"
            )
