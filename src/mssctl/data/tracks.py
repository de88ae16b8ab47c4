"""Tracks to score on: folders of ``{mixture,vocals,drums,bass,other,...}.wav``, and MUSDB18.

Unlike training data, a track has whatever stems there are, not those of a model.
"""

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
    real,
    split_folder,
)
from mssctl.data.names import MIXTURE, is_stem_mp4, some, song_name, split_of, stem_mp4_name
from mssctl.data.songs import SongFiles
from mssctl.errors import MssctlError

_LAYOUT = "expected track folders with vocals.wav, drums.wav, ..., and mixture.wav"
_MUSDB = "MUSDB18 has the folders train, test"


def find_tracks(reference: Path, *, nested: bool = False) -> tuple[list[SongFiles], list[str]]:
    """Tracks in a folder of track folders, or the one track that the folder itself is.

    Names count as in training data (`mssctl.data.names`): any spelling of a stem, any suffix of
    audio. A level of folders that an archive added is passed through.

    Args:
        reference: the folder.
        nested: also look for track folders in ``train``, ``valid`` and ``test``.

    Returns:
        The tracks, sorted by name, and notes on what was passed over.

    Raises:
        MssctlError: no such folder, no tracks, two files for one stem, or something that cannot
            be read.
    """
    if not is_folder(reference):
        what = "not a folder" if reference.exists() else "no such folder"
        raise MssctlError(f"{reference}: {what}", hint=_LAYOUT)
    tracks, notes = _unpacked(reference, nested=nested)
    if not tracks:
        splits = _splits(reference) or _splits(deeper(reference, lambda path: bool(_splits(path))))
        hint = f"name one of its splits: {some(splits)}" if splits else _LAYOUT
        raise MssctlError(f"{reference}: no reference tracks", hint=hint)
    return tracks, notes


def _splits(folder: Path | None) -> list[str]:
    """The folders of splits in a folder."""
    return [str(path) for path in folders(folder) if split_of(path.name)] if folder else []


def _unpacked(place: Path, *, nested: bool) -> tuple[list[SongFiles], list[str]]:
    """The tracks in a folder, or deeper in it, as archives unpack them; and notes."""
    tracks, notes = _tracks(place, nested=nested)
    inner = (
        None if tracks else deeper(place, lambda folder: bool(_tracks(folder, nested=nested)[0]))
    )
    if inner is not None:
        tracks, notes = _tracks(inner, nested=nested)
        notes.insert(0, f"{place}: no tracks here; those in {inner} are taken")
    return tracks, notes


def _tracks(place: Path, *, nested: bool) -> tuple[list[SongFiles], list[str]]:
    """The tracks in a folder, and notes on what else is there."""
    own = _track(place)
    if own is not None and is_song(place):
        return [own], []
    tracks: list[SongFiles] = []
    notes: list[str] = []
    without: list[str] = []
    for folder in folders(place):
        track = _track(folder)
        if track is not None:
            tracks.append(track)
        elif nested and split_of(folder.name):
            more, skipped = _unpacked(folder, nested=False)
            tracks += more
            notes += skipped
        else:
            without.append(folder.name)
    if not tracks and own is not None:  # stems with names of their own
        return [own], []
    if without:
        count = f"{len(without)} folder{'s' if len(without) > 1 else ''}"
        notes.append(f"{place}: {count} without audio files skipped: {some(without)}")
    if own is not None:
        names = [path.name for path in (*own.stems.values(), own.mixture) if path]
        notes.append(f"{place}: {len(names)} files beside the tracks skipped: {some(names)}")
    return tracks, notes


def find_musdb(root: Path, split: str) -> tuple[list[SongFiles], list[str]]:
    """Tracks of a split of MUSDB18 or MUSDB18-HQ, in order of name.

    Args:
        root: the folder that holds ``train`` and ``test``.
        split: ``train``, ``valid`` (14 tracks of the training folder, as musdb has them), ``test``.

    Returns:
        The tracks, and notes on what was passed over.

    Raises:
        MssctlError: no such folder, or no tracks.
    """
    wanted, notes = "test" if split == "test" else "train", list[str]()
    if not is_folder(root):
        raise MssctlError(f"{root}: no such folder", hint=_MUSDB)
    folder = split_folder(root, wanted)
    if folder is None:
        inner = deeper(root, lambda place: split_folder(place, wanted) is not None)
        folder = inner and split_folder(inner, wanted)
        if folder is None:
            raise MssctlError(f"{root / wanted}: no such folder", hint=_MUSDB)
        notes.append(f"{root}: no '{wanted}' here; the one in {inner} is taken")
    tracks = [
        SongFiles(stem_mp4_name(path), path, {}) for path in entries(folder) if is_stem_mp4(path)
    ]
    if not tracks:
        tracks, more = find_tracks(folder)
        notes += more
    if split != "test":
        held_out = musdb18.validation_tracks()
        tracks = [track for track in tracks if (track.name in held_out) == (split == "valid")]
    if not tracks:
        raise MssctlError(f"{folder}: none of the tracks of the split '{split}'")
    return tracks, notes


def _track(folder: Path) -> SongFiles | None:
    """The track whose files lie in ``folder``; None if there are none."""
    found = {name: only(files) for name, files in audio_files(entries(folder)).items()}
    if not found:
        return None
    mixture = found.pop(MIXTURE, None)
    name = real(folder).name if folder.name in ("", "..") else folder.name
    return SongFiles(song_name(name), folder, found, mixture)
