"""Which songs an argument means: files, folders (walked) and patterns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from mssctl.audio.formats import AUDIO_SUFFIXES
from mssctl.errors import MssctlError

Failed = tuple[str, MssctlError]  # an argument or a folder, and what is wrong with it


@dataclass(frozen=True)
class Song:
    """An input file, and the folder name that tells it from namesakes (``{dir}``).

    For a file found in a folder that was given, ``folder`` is its place below that one; for a
    file that was given itself, the name of the folder it is in.
    """

    path: Path
    folder: str


def find_songs(arguments: Sequence[Path | str], out: Path) -> tuple[list[Song], list[Failed]]:
    """Resolve arguments to songs, in order, each file once.

    Folders are walked, sorted; hidden files and folders, links to folders and what lies below
    ``out`` (unless that is the folder itself) are left out. A name that exists is never taken for
    a pattern.

    Returns:
        The songs, and arguments that lead to none and folders that cannot be read, with the reason.
    """
    songs: dict[Path, Song] = {}
    failures: list[Failed] = []
    for argument in arguments:
        try:
            for song in _resolve(Path(argument), out.resolve(), failures):
                songs.setdefault(song.path.resolve(), song)
        except MssctlError as error:
            failures.append((str(argument), error))
    return list(songs.values()), failures


def _resolve(path: Path, out: Path, failures: list[Failed]) -> list[Song]:
    if path.is_dir():
        before = len(failures)
        found = list(_walk(path, out, failures))
        if not found and len(failures) == before:
            raise MssctlError(
                f"{path}: no audio files in this folder",
                hint="hidden files, and files without an audio suffix, are not looked at",
            )
        return found
    if path.exists() or path.is_symlink() or not has_magic(str(path)):
        return [Song(path, path.resolve().parent.name)]
    matches = sorted(glob(str(path), recursive=True))  # noqa: PTH207 (may be absolute)
    if not matches:
        raise MssctlError(f"{path}: no file matches this pattern")
    # A pattern picks whatever it matches; in folders only audio files count.
    return [song for match in matches for song in _resolve(Path(match), out, failures)]


def _walk(root: Path, out: Path, failures: list[Failed]) -> Iterator[Song]:
    def unreadable(error: OSError) -> None:
        folder = os.fsdecode(error.filename)
        failures.append((folder, MssctlError(f"{folder}: cannot be read: {error.strerror}")))

    for folder, folders, names in os.walk(root, onerror=unreadable):
        here = Path(folder)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and not ((here / name).resolve() == out and out != root.resolve())
        )
        for name in sorted(names):
            path = here / name
            if not name.startswith(".") and path.suffix.lower() in AUDIO_SUFFIXES:
                yield Song(path, here.relative_to(root).as_posix())
