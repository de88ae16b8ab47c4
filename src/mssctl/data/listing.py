"""The layouts: how songs lie in folders. Only names are looked at here, no file is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mssctl.data import musdb18
from mssctl.data.songs import Entry, Listing
from mssctl.data.tables import read_table
from mssctl.errors import ExitCode, MssctlError, did_you_mean

SUFFIXES = (".wav", ".flac")
Found = tuple[list[Entry], list[str]]  # songs, and folders without one


def song_folders(place: Path, stems: tuple[str, ...]) -> Found:
    """``PLACE/SONG/{stem}.wav`` or ``.flac``."""
    songs, skipped = [], []
    for folder in _folders(place):
        files = {stem: path for stem in stems if (path := _file(folder, stem))}
        if files:
            mixture = _file(folder, musdb18.MIXTURE)
            songs.append(Entry(folder.name, folder, files, mixture))
        elif folder.name.lower() not in ("valid", "test"):
            skipped.append(folder.name)
    return songs, skipped


def sample_folders(place: Path, stems: tuple[str, ...]) -> Found:
    """``PLACE/{stem}/…/*.wav`` or ``.flac``: samples of one stem each, in no relation."""
    songs, skipped = [], []
    for folder in _folders(place):
        if folder.name not in stems:
            if folder.name.lower() not in ("valid", "test"):
                skipped.append(folder.name)
            continue
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES and _visible(path, folder) and path.is_file():
                name = path.relative_to(place).as_posix()
                songs.append(Entry(name, path, {folder.name: path}, loose=True))
    return songs, skipped


def stem_containers(place: Path, _stems: tuple[str, ...]) -> Found:
    """``PLACE/*.stem.mp4``. The stems have the names that MUSDB18 gives them."""
    paths = [path for path in sorted(place.iterdir()) if path.name.endswith(musdb18.SUFFIX)]
    songs = [
        Entry(path.name.removesuffix(musdb18.SUFFIX), path, {})
        for path in paths
        if not path.name.startswith(".")
    ]
    return songs, []


_FOLDERS: dict[str, Callable[[Path, tuple[str, ...]], Found]] = {
    "musdb18": stem_containers,
    "musdb18hq": song_folders,
    "stems": song_folders,
    "samples": sample_folders,
}
LAYOUTS = (*_FOLDERS, "csv")


def list_songs(
    root: Path, stems: tuple[str, ...], *, layout: str = "auto", splits: Sequence[str]
) -> Listing:
    """The songs below ``root``, for the ``splits`` asked for and no others.

    A root holds a folder per split, or is itself the ``train`` split. In the MUSDB18 layouts,
    musdb's own 14 validation tracks are taken out of ``train``, unless there is a folder ``valid``.

    Raises:
        MssctlError: no such folder, no songs, or no such layout.
    """
    name = _layout(root, stems, layout)
    if name == "csv":
        table = read_table(root, stems)
        kept = {split: songs for split, songs in table.splits.items() if split in splits}
        return Listing(root, name, kept, table.skipped)
    found: dict[str, list[Entry]] = {}
    skipped: list[str] = []
    for split in splits:
        place = split_folder(root, split)
        if split == "train" and place is None:
            place = root
        if place is not None:
            found[split] = _list_place(place, stems, name, skipped)
    if name.startswith("musdb18") and "valid" not in found and "valid" in splits:
        _hold_out(root, found)
    return Listing(root, name, found, skipped)


def list_place(root: Path, stems: tuple[str, ...], *, layout: str = "auto") -> Listing:
    """All songs of a folder that is one split, or the held-out rows of a table."""
    name = _layout(root, stems, layout)
    if name == "csv":
        table = read_table(root, stems)
        songs = table.splits.get("valid") or table.splits.get("train") or []
        return Listing(root, name, {"valid": songs}, table.skipped)
    skipped: list[str] = []
    return Listing(root, name, {"valid": _list_place(root, stems, name, skipped)}, skipped)


def split_folder(root: Path, name: str) -> Path | None:
    """The folder of a split below ``root``, if there is one."""
    path = root / name
    return path if path.is_dir() else None


def _layout(root: Path, stems: tuple[str, ...], name: str) -> str:
    """The layout named, or the one that ``root`` looks like."""
    if name != "auto" and name not in LAYOUTS:
        raise MssctlError(
            f"no data layout '{name}'",
            hint=did_you_mean(name, ["auto", *LAYOUTS]),
            exit_code=ExitCode.USAGE,
        )
    if root.suffix.lower() == ".csv" or name == "csv":
        return "csv"
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise MssctlError(f"{root}: {what}")
    if name != "auto":
        return name
    place = split_folder(root, "train") or root
    try:
        folders = {folder.name for folder in _folders(place)}
    except OSError as error:
        raise _unreadable(place, error) from None
    if stem_containers(place, stems)[0]:
        return "musdb18"
    if folders & musdb18.validation_tracks():
        return "musdb18hq"
    if folders & set(stems) and not song_folders(place, stems)[0]:
        return "samples"
    return "stems"


def _list_place(place: Path, stems: tuple[str, ...], name: str, skipped: list[str]) -> list[Entry]:
    """The songs of one folder; what it holds besides is added to ``skipped``."""
    try:
        songs, rest = _FOLDERS[name](place, stems)
    except OSError as error:
        raise _unreadable(place, error) from None
    if not songs:
        raise MssctlError(f"{place}: no songs here", hint=_expected(name, stems))
    if rest:
        count = f"{len(rest)} folder{'s' if len(rest) > 1 else ''}"
        skipped.append(f"{place}: {count} without a stem (first: {rest[0]}): skipped")
    return songs


def _unreadable(place: Path, error: OSError) -> MssctlError:
    return MssctlError(f"{error.filename or place}: cannot be read: {error.strerror}")


def _expected(layout: str, stems: tuple[str, ...]) -> str:
    if layout == "musdb18":
        return f"expected SONG{musdb18.SUFFIX}"
    if layout == "samples":
        return f"expected {stems[0]}/*.wav and so on"
    return f"expected SONG/{stems[0]}.wav and so on; `mssctl data synth` makes such a folder"


def _hold_out(root: Path, found: dict[str, list[Entry]]) -> None:
    """Move musdb's validation tracks from ``train`` to ``valid``."""
    names = musdb18.validation_tracks()
    held = [song for song in found["train"] if song.name in names]
    if held:
        found["train"] = [song for song in found["train"] if song.name not in names]
        found["valid"] = held
    if not found["train"]:
        raise MssctlError(
            f"{root}: only validation tracks of MUSDB18", hint="there is nothing to train on"
        )


def _folders(place: Path) -> list[Path]:
    """Folders in ``place`` by name; a test split and hidden ones do not count."""
    return [
        path
        for path in sorted(place.iterdir())
        if path.is_dir() and path.name.lower() != "test" and not path.name.startswith(".")
    ]


def _file(folder: Path, stem: str) -> Path | None:
    paths = [path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()]
    if len(paths) > 1:
        raise MssctlError(f"{paths[0]} and {paths[1].name}: which one?", hint="remove one")
    return paths[0] if paths else None


def _visible(path: Path, below: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(below).parts)
