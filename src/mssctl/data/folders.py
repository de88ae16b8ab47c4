"""Look into folders of songs: names only, no file is opened.

What is there and cannot be opened is an error or is passed on to whoever opens it; it never counts
as not there.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from mssctl.data.names import MIXTURE, USUAL_STEMS, fold, is_audio, is_visible, some, split_of
from mssctl.errors import MssctlError

_LEVELS = 3  # folders in folders that an archive may add


def real(path: Path) -> Path:
    """The path without links. Unlike `Path.resolve`, it accepts links in a circle."""
    return Path(os.path.realpath(path))


def unreadable(path: Path, error: OSError) -> MssctlError:
    """The error for a path that the system refuses."""
    shown = Path(os.fsdecode(error.filename or path))
    return MssctlError(f"{shown}: cannot be read: {error.strerror or error}")


def refuse_broken_link(path: Path) -> None:
    """Refuse a link that leads nowhere, such as to a disk that is not mounted.

    Raises:
        MssctlError: it is one.
    """
    try:
        path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise MssctlError(
                f"{path}: a link to '{path.readlink()}', which is not there",
                hint="mount the disk it leads to, or remove the link",
            ) from None
    except OSError:
        pass  # opening it will report the problem


def is_folder(path: Path) -> bool:
    """Whether this is a folder, or a link to one.

    Raises:
        MssctlError: a link that leads nowhere or in a circle, or a path that may not be looked at.
    """
    refuse_broken_link(path)
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unreadable(path, error) from None


def entries(folder: Path) -> list[Path]:
    """What is in a folder and counts (`names.is_visible`), by name.

    Raises:
        MssctlError: it cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if is_visible(path))
    except OSError as error:
        raise unreadable(folder, error) from None


def folders(place: Path) -> list[Path]:
    """The folders in a place of songs.

    Raises:
        MssctlError: it cannot be read, or a link in it leads nowhere: that may be a song.
    """
    return [path for path in entries(place) if is_folder(path)]


def audio_files(inside: Iterable[Path]) -> dict[str, list[Path]]:
    """Folded name without suffix -> those of ``inside`` with that name and a suffix of audio.

    Also what cannot be opened: links that lead nowhere, pipes, folders.
    """
    found: dict[str, list[Path]] = {}
    for path in inside:
        if is_audio(path):
            found.setdefault(fold(path.stem), []).append(path)
    return found


def only(files: Sequence[Path]) -> Path:
    """The one file of a stem.

    Raises:
        MssctlError: there are two, whose names differ in spelling or suffix.
    """
    if len(files) > 1:
        raise MssctlError(
            f"{files[0]} and {files[1].name}: two files for one stem: which one?",
            hint="keep one of them in this folder",
        )
    return files[0]


def is_song(folder: Path, stems: Iterable[str] = ()) -> bool:
    """Whether a folder holds a file of a stem, or a mixture."""
    files = audio_files(entries(folder))
    return any(fold(stem) in files for stem in (*stems, *USUAL_STEMS, MIXTURE))


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder; links to folders are followed, each folder is entered once.

    Raises:
        MssctlError: a folder in it cannot be read, or a link leads nowhere.
    """
    entered: set[Path] = set()

    def files(place: Path) -> Iterator[Path]:
        if real(place) in entered:
            return
        entered.add(real(place))
        for path in entries(place):
            if not is_audio(path) and is_folder(path):
                yield from files(path)
            else:
                yield path

    return files(folder)


def split_folder(root: Path, split: str, stems: Iterable[str] = ()) -> Path | None:
    """The folder of a split below ``root``, however its name is spelled.

    A folder that holds stems itself is a song that happens to be called that.

    Raises:
        MssctlError: two such folders, a link that leads nowhere, or a folder that cannot be read.
    """
    named = [path for path in entries(root) if split_of(path.name) == split]
    found = [path for path in named if is_folder(path) and not is_song(path, stems)]
    if len(found) > 1:
        raise MssctlError(
            f"{root}: both '{found[0].name}' and '{found[1].name}': which is the {split} split?",
            hint="put their songs together, or rename one",
        )
    return found[0] if found else None


def deeper(root: Path, holds: Callable[[Path], bool]) -> Path | None:
    """The folder below ``root`` that holds the songs, where an archive added a level; or None.

    Args:
        root: a folder without songs.
        holds: whether a folder holds songs, or folders of splits.

    Raises:
        MssctlError: several folders do.
    """
    place = root
    for _ in range(_LEVELS):
        inside = [path for path in folders(place) if split_of(path.name) is None]
        found = [path for path in inside if holds(path)]
        if len(found) > 1:
            names = some([path.name for path in found])
            raise MssctlError(
                f"{place}: no songs here, but in the folders {names}", hint="name one of these"
            )
        if found or len(inside) != 1:
            return found[0] if found else None
        place = inside[0]
    return None
