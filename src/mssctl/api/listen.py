"""``mssctl listen``: stems in, a page to hear them out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mssctl.data.names import MIXTURE, USUAL_STEMS, is_audio, is_visible, stem_of
from mssctl.documents import read_json
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Reporter, silent
from mssctl.options.listen import ListenOptions
from mssctl.pages import listening
from mssctl.pages.listening.tracks import Take
from mssctl.results.listen import ListenResult
from mssctl.separation.outputs import folder_for_outputs

_PAGE = "listen"  # folder of the page, beside the stems


@dataclass(frozen=True)
class _Separated:
    """One song, as one model or several separated it."""

    title: str
    folder: Path
    takes: tuple[Take, ...]
    mixture: Path | None


def listen(
    sources: Path | str | Sequence[Path | str],
    options: ListenOptions | None = None,
    *,
    report: Reporter = silent,
    **changes: Any,
) -> ListenResult:
    """Write a page that plays the stems of a song in sync, or compares several separations of it.

    Args:
        sources: a folder of stems, or a file with what ``separate --json`` printed, of which each
            song gets a page; several, of one song each, are compared on one page.
        options: where; the defaults if None.
        report: receives events.
        changes: fields of `ListenOptions`, instead of those in ``options``.

    Raises:
        MssctlError: no stems there, or audio that cannot be read (exit 4); a page is there already
            (exit 2); the folder cannot be written (exit 3).
    """
    given = ListenOptions.given(options, changes)
    paths = [Path(one) for one in ([sources] if isinstance(sources, str | Path) else sources)]
    found = [_songs(path) for path in paths]
    songs = found[0] if len(found) == 1 else [_compared(paths, found)]
    if len(songs) > 1 and (given.title is not None or given.mixture is not None):
        raise MssctlError(
            f"{paths[0]}: `title` and `mixture` are of one song, and this has {len(songs)}",
            exit_code=ExitCode.USAGE,
        )
    pages = []
    for song in songs:
        folder = song.folder / _PAGE if given.out is None else Path(given.out)
        if len(songs) > 1:
            folder = (
                folder.parent / f"{song.title} {_PAGE}"
                if given.out is None
                else folder / song.title
            )
        with folder_for_outputs(folder.parent):
            pages.append(
                listening.write(
                    folder,
                    song.title if given.title is None else given.title,
                    song.takes,
                    song.mixture if given.mixture is None else Path(given.mixture),
                    overwrite=given.overwrite,
                    report=report,
                )
            )
    return ListenResult(pages)


def _songs(path: Path) -> list[_Separated]:
    """What a folder or a result of ``separate`` holds.

    Raises:
        MssctlError: no stems.
    """
    songs = [_of_folder(path)] if path.is_dir() else _of_result(path)
    if not songs or not all(song.takes[0].stems for song in songs):
        raise MssctlError(
            f"{path}: no stems in it", hint="name the folder of one song, or a result of `separate`"
        )
    return songs


def _of_folder(path: Path) -> _Separated:
    """The audio files of a folder, each a stem; the usual ones first."""
    stems: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        if not (file.is_file() and is_visible(file) and is_audio(file)):
            continue
        name = stem_of(file.stem, (MIXTURE, *USUAL_STEMS)) or file.stem
        if name in stems:
            raise MssctlError(
                f"{path}: {stems[name].name} and {file.name} are both {name}",
                hint="leave one of them there",
            )
        stems[name] = file
    mixture = stems.pop(MIXTURE, None)
    ordered = {name: stems.pop(name) for name in USUAL_STEMS if name in stems} | stems
    where = path.resolve()
    return _Separated(where.name, path, (Take(where.parent.name, ordered),), mixture)


def _of_result(path: Path) -> list[_Separated]:
    """The songs in the document of ``separate --json``."""
    document = read_json(path)
    data = document.get("data", document)
    try:
        license_ = data.get("license", "")
        return [_of_song(song, data["model"], license_) for song in data["songs"]]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise MssctlError(
            f"{path}: not a result of `separate`", hint="write one with mssctl separate --json"
        ) from None


def _of_song(song: Mapping[str, Any], model: str, license_: str) -> _Separated:
    stems = {str(stem): Path(file) for stem, file in song["stems"].items()}
    take = Take(model, stems, license_, float(song["speed"]))
    source = Path(song["path"])
    folder = next(iter(stems.values())).parent
    return _Separated(source.stem, folder, (take,), source if source.is_file() else None)


def _compared(paths: Sequence[Path], found: Sequence[Sequence[_Separated]]) -> _Separated:
    """One song of several separations.

    Raises:
        MssctlError: one of the sources holds several songs.
    """
    for path, songs in zip(paths, found, strict=True):
        if len(songs) > 1:
            raise MssctlError(
                f"{path}: {len(songs)} songs, and a comparison is of one",
                hint="name the folders of one song",
                exit_code=ExitCode.USAGE,
            )
    songs = [one for (one,) in found]
    takes = [song.takes[0] for song in songs]
    if len({take.name for take in takes}) < len(takes):
        takes = [replace(take, name=str(path)) for take, path in zip(takes, paths, strict=True)]
    mixture = next((song.mixture for song in songs if song.mixture), None)
    return replace(songs[0], takes=tuple(takes), mixture=mixture)
