"""Which songs an argument means: files, folders (walked) and patterns.

An argument that leads nowhere, or a folder that cannot be read, is a failure of its own; the other
songs are still found.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

from mssctl.audio.formats import AUDIO_SUFFIXES
from mssctl.errors import MssctlError

Failed = tuple[str, MssctlError]  # an argument or a folder, and what is wrong with it

_LONGEST_LIST = 1 << 26  # characters
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Song:
    """An input file, and the folder name that distinguishes it from namesakes (``{dir}``).

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
        The songs, and arguments that lead to none and what cannot be read, with the reason.
    """
    songs: dict[str, Song] = {}
    failures: list[Failed] = []
    for argument in arguments:
        for found in _resolve(str(argument), os.path.realpath(out)):
            if isinstance(found, Song):
                songs.setdefault(os.path.realpath(found.path), found)
            else:
                failures.append(found)
    return list(songs.values()), failures


def _resolve(name: str, out: str) -> Iterator[Song | Failed]:
    """What one argument leads to."""
    if not name.strip():
        yield name, MssctlError("the name of a song is blank")
        return
    if (name == "-" or name.startswith("@")) and not os.path.lexists(name):
        yield from _listed(name, out)
        return
    try:
        mode = Path(name).stat().st_mode
    except (OSError, ValueError) as error:
        if has_magic(name) and not os.path.lexists(name):
            yield from _matches(name, out)
        elif isinstance(error, FileNotFoundError):
            yield _song(name)  # its reader says so
        else:
            yield _unreadable(name, error)
        return
    if stat.S_ISREG(mode):
        yield _song(name)
    elif stat.S_ISDIR(mode):
        found = list(_walk(name, out))
        yield from found
        if not found:
            yield (
                name,
                MssctlError(
                    f"{name}: no audio files in this folder",
                    hint="hidden files, and files without an audio suffix, are not looked at",
                ),
            )
    else:
        yield _no_file(name, mode)


def _listed(name: str, out: str) -> Iterator[Song | Failed]:
    """What the lines of a list lead to; blank lines, and lines that begin with #, do not count."""
    try:
        if name == "-":
            text = sys.stdin.read(_LONGEST_LIST)
        else:
            with Path(name[1:]).expanduser().open(encoding="utf-8-sig") as file:
                text = file.read(_LONGEST_LIST)
    except (OSError, ValueError) as error:
        yield _unreadable(name, error)
        return
    lines = [line.strip() for line in text.splitlines()]
    songs = [line for line in lines if line and not line.startswith("#")]
    if not songs or len(text) == _LONGEST_LIST:
        yield name, MssctlError(f"{name}: {'no songs in' if not songs else 'too long:'} this list")
        return
    for song in songs:
        if song == "-" or song.startswith("@"):
            yield song, MssctlError(f"{name}: a list in a list: {song}")
        else:
            yield from _resolve(song, out)


def _song(name: str) -> Song:
    """A file that was given itself."""
    return Song(Path(name), Path(os.path.realpath(name)).parent.name)


def _matches(pattern: str, out: str) -> Iterator[Song | Failed]:
    """What a pattern picks: it may be any file; of folders only the audio files count."""
    path = Path(pattern)
    plain = next(parent for parent in path.parents if not has_magic(str(parent)))
    rest = path.relative_to(plain)
    hidden = any(part.startswith(".") for part in rest.parts)
    try:
        os.scandir(plain).close()
        # Path.glob does not follow links to folders with **, which may lead in a circle.
        names = sorted(
            str(found)
            for found in plain.glob(str(rest))
            if hidden or not any(p.startswith(".") for p in found.relative_to(plain).parts)
        )
    except (OSError, ValueError, RecursionError) as error:
        yield _unreadable(pattern, error)
        return
    if not names:
        yield pattern, MssctlError(f"{pattern}: no file matches this pattern")
    for name in names:
        yield from _resolve(name, out)


def _walk(root: str, out: str) -> Iterator[Song | Failed]:
    """The audio files below a folder, each folder's files before its folders, in order of name.

    Not `os.walk`, which recurses in Python 3.11 and fails in folders nested a thousand deep.
    """
    top = os.path.realpath(root)
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(
                    (entry for entry in listing if not entry.name.startswith(".")),
                    key=lambda entry: entry.name,
                )
        except OSError as error:
            yield _unreadable(folder, error)
            continue
        folders = []
        for entry in entries:
            if _is_folder(entry):
                if not entry.is_symlink() and (out == top or os.path.realpath(entry.path) != out):
                    folders.append(entry.path)
            elif Path(entry.name).suffix.lower() in AUDIO_SUFFIXES:
                yield _found(entry, Path(folder).relative_to(root).as_posix())
        pending += reversed(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _found(entry: os.DirEntry[str], folder: str) -> Song | Failed:
    """A file with an audio suffix, or why it cannot be read."""
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        return _unreadable(entry.path, error)
    return Song(Path(entry.path), folder) if stat.S_ISREG(mode) else _no_file(entry.path, mode)


def _unreadable(name: str, error: Exception) -> Failed:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        reason = "links that lead in a circle"
    return name, MssctlError(f"{name}: cannot be read: {reason}")


def _no_file(name: str, mode: int) -> Failed:
    kind = _KINDS.get(stat.S_IFMT(mode), "something else")
    return name, MssctlError(
        f"{name}: {kind}, not a file", hint="save the audio to a file, and name that"
    )
