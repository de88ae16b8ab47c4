"""The folder of an evaluation: a document per scored track, so that an interrupted one continues.

A track's document appears together with its stems and excerpts. What another evaluation left in
the folder is refused, or replaced with ``overwrite``: then the new files wait in a hidden folder
until all tracks are scored, and the old ones are there until the end.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mssctl.data.songs import SongFiles
from mssctl.documents import parse_json
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.documents import (
    FOLDERS,
    SUMMARY,
    Document,
    as_text,
    document_place,
    document_places,
    file_state,
    is_marked,
    marked,
    provenance_in,
    provenance_of,
    read,
    whole,
)
from mssctl.files import FileSet, check_writable
from mssctl.staging import copy_tree

Mark = Callable[[SongFiles], Mapping[str, Any]]
Foreign = list[tuple[Path, str]]  # what must not be replaced, and why

TABLES = (SUMMARY, "scores.csv", "scores.md")
_WAITING = ".mssctl-unfinished"
_HINT = "choose another folder with `out`, or replace what is there with `overwrite`"
_STRANGE = "was not written by this evaluation"


class Store:
    """Documents of tracks, each with the provenance it was made under.

    Args:
        folder: where they lie, made by `check`; None keeps nothing.
        provenance: what the scores depend on.
        mark: what the estimates of a track depend on besides.
        tracks: that are evaluated.
        kinds: folders for audio of each track.
        overwrite: replace the results of other evaluations.
    """

    def __init__(
        self,
        folder: Path | None,
        provenance: Mapping[str, Any],
        mark: Mark,
        tracks: Sequence[SongFiles],
        kinds: Sequence[str],
        overwrite: bool,
    ) -> None:
        self._keeps, self._folder = folder is not None, folder or Path()
        self._new = self._folder  # where new files go
        self.provenance = parse_json(json.dumps(provenance), "provenance")  # as it reads
        self._mark_of, self._tracks, self._kinds = mark, tracks, kinds
        self._overwrite = overwrite
        self._open: dict[str, FileSet] = {}

    def check(self, page: Path | None) -> list[str]:
        """Look for what this evaluation must not replace, before any work.

        Args:
            page: the report, if there is to be one.

        Returns:
            Notes on documents of other evaluations that stay.

        Raises:
            MssctlError: something is there that may not be replaced (exit 2), or nothing can be
                written there (exit 3).
        """
        if not self._keeps:
            return []
        check_writable(self._folder / SUMMARY)
        foreign = self._foreign()
        waits = bool(foreign)
        if page is not None:
            check_writable(page)
            foreign += self._foreign_page(page)
        if foreign and not self._overwrite:
            path, reason = foreign[0]
            more = f" (and {len(foreign) - 1} more)" if len(foreign) > 1 else ""
            raise MssctlError(f"{path}: {reason}{more}", hint=_HINT, exit_code=ExitCode.USAGE)
        if waits:
            self._new = self._folder / _WAITING
        notes = self._others()
        with _writing(self._new):
            self._new.mkdir(parents=True, exist_ok=True)
        return notes

    def find(self, track: SongFiles) -> Document | None:
        """The track's document and audio, if made from the same files under the same provenance."""
        for folder in dict.fromkeys((self._new, self._folder)) if self._keeps else ():
            if not all((folder / kind / track.name).is_dir() for kind in self._kinds):
                continue
            for path in document_places(folder, track.name):
                document = whole(path)
                if (
                    document
                    and document.get("provenance") == self._mark(track)
                    and not document.get("failures")  # another try may succeed
                ):
                    return document
        return None

    def begin(self, track: SongFiles) -> dict[str, Path]:
        """Folders for the audio of a track, which appear together with its document."""
        if not self._keeps:
            return {}
        self._drop(track)
        files = self._open[track.name] = FileSet(
            self._new, overwrite=lambda path: self._owns(path, track), hint=_HINT
        )
        with _writing(self._new):
            return {kind: files.add_folder(self._new / kind / track.name) for kind in self._kinds}

    def keep(self, track: SongFiles, made: Document) -> Document:
        """Publish the document of a track that was begun; returns it with its provenance.

        One that has no scores because something failed is not kept.

        Raises:
            MssctlError: it cannot be written (exit 3), or something appeared there (exit 2).
        """
        if made["scores"] or not made.get("failures"):
            made = {**made, "provenance": self._mark(track)}
            if self._keeps:
                path, files = document_place(self._new, track.name, made), self._open[track.name]
                with _writing(path):
                    files.add(path).write_text(as_text(made), encoding="utf-8")
                    files.publish()
        self._drop(track)
        return made

    def finish(self, tables: Mapping[str, str]) -> None:
        """Publish the tables, and the new files that waited for the end.

        Args:
            tables: name -> text, the summary among them.

        Raises:
            MssctlError: a file cannot be written (exit 3), or something appeared there (exit 2).
        """
        own, waits = self._overwrite or self._summary_is_own(), self._new != self._folder
        with _writing(self._folder):
            with FileSet(self._folder, overwrite=own, hint=_HINT) as files:
                for name, text in tables.items():
                    files.add(self._folder / name).write_text(
                        text, encoding="utf-8", errors="backslashreplace"
                    )
                if waits:
                    self._publish_waiting(files)
            if waits:
                self._remove_replaced()
                shutil.rmtree(self._new, ignore_errors=True)

    def write_page(
        self,
        page: Path,
        text: str,
        plots: Mapping[str, str],
        write_sounds: Callable[[Path, Path], None] | None,
    ) -> None:
        """Publish the report, its plots and its listening pages, as `report` makes them.

        Raises:
            MssctlError: a file cannot be written (exit 3), or may not be replaced (exit 2).
        """
        contents = {self._folder / "plots" / name: plot for name, plot in plots.items()}
        sounds, own = sounds_of(page), self._overwrite or is_marked(page, self.provenance)
        with _writing(page):
            page.parent.mkdir(parents=True, exist_ok=True)
            with FileSet(
                self._folder,
                overwrite=lambda path: (
                    own if path == sounds else self._overwrite or is_marked(path, self.provenance)
                ),
                hint=_HINT,
            ) as files:
                if write_sounds:
                    write_sounds(files.add_folder(sounds), sounds)
                for path, content in {**contents, page: text}.items():
                    files.add(path).write_text(
                        marked(content, self.provenance),
                        encoding="utf-8",
                        errors="backslashreplace",
                    )

    def close(self) -> None:
        """Remove what was begun and not kept."""
        for track in self._tracks:
            self._drop(track)

    def _drop(self, track: SongFiles) -> None:
        """Remove what was begun of a track."""
        if files := self._open.pop(track.name, None):
            files.discard()

    def _publish_waiting(self, files: FileSet) -> None:
        for track in self._tracks:
            for kind in self._kinds:
                if (waiting := self._new / kind / track.name).is_dir():
                    copy_tree(waiting, files.add_folder(self._folder / kind / track.name))
            for waiting in document_places(self._new, track.name):
                if waiting.is_file() and self._is_own(waiting, track):
                    copy_tree(waiting, files.add(self._folder / waiting.relative_to(self._new)))

    def _remove_replaced(self) -> None:
        """A track has one document: with BSSEval and without, its places differ."""
        for track in self._tracks:
            for path in document_places(self._folder, track.name):
                if provenance_in(path) is not None and not self._is_own(path, track):
                    path.unlink()

    def _foreign(self) -> Foreign:
        """What this evaluation would replace or mix with although it is not its own, and why."""
        found: Foreign = []
        if not (self._folder / SUMMARY).exists():
            found += [(self._folder / name, _STRANGE) for name in TABLES]
        elif not self._summary_is_own():
            found.append((self._folder / SUMMARY, "holds the results of another evaluation"))
        for track in self._tracks:
            places = [self._folder / name / f"{track.name}.json" for name in FOLDERS]
            there = [path for path in places if path.exists()]
            reason = f"holds results of {track.name} from other estimates, files or settings"
            found += [(path, reason) for path in there if not self._is_own(path, track)]
            if not there and self.find(track) is None:
                found += [(self._folder / kind / track.name, _STRANGE) for kind in self._kinds]
        return [(path, reason) for path, reason in found if path.exists()]

    def _foreign_page(self, page: Path) -> Foreign:
        if page.is_dir() or page.absolute() in [(self._folder / n).absolute() for n in TABLES]:
            raise MssctlError(
                f"`html` {page}: a folder, or a table of the evaluation",
                hint="name another file",
                exit_code=ExitCode.USAGE,
            )
        sounds = sounds_of(page)
        if os.path.lexists(sounds) and not _holds_sounds(sounds):
            raise MssctlError(
                f"{sounds}: the place of the report's sounds is taken",
                hint="name another file with `html`",
                exit_code=ExitCode.USAGE,
            )
        own = not os.path.lexists(page) or is_marked(page, self.provenance)
        return [] if own else [(page, _STRANGE)]

    def _others(self) -> list[str]:
        """Documents of tracks that are not evaluated, and not of this evaluation."""
        names = {track.name for track in self._tracks}
        others = [
            path
            for name in FOLDERS
            for path in sorted((self._folder / name).glob("*.json"))
            if path.stem not in names and not self._is_related(path)
        ]
        if not others:
            return []
        if not self._overwrite:
            raise MssctlError(
                f"{others[0]}: holds results of another evaluation",
                hint=_HINT,
                exit_code=ExitCode.USAGE,
            )
        stay = f"{len(others)} documents of other evaluations stay (first: {others[0]})"
        return [f"{self._folder}: {stay}"]

    def _owns(self, path: Path, track: SongFiles) -> bool:
        """Whether a file or folder of a track may be replaced."""
        if self._new != self._folder:
            return True  # only this evaluation writes there
        places = [path] if path.suffix == ".json" else document_places(self._folder, track.name)
        return any(self._is_own(place, track) for place in places)

    def _is_own(self, path: Path, track: SongFiles) -> bool:
        """Whether a document is this evaluation's, or an earlier try of it that failed in part."""
        failed = (whole(path) or {}).get("failures")
        return provenance_in(path) == self._mark(track) or bool(failed and self._is_related(path))

    def _is_related(self, path: Path) -> bool:
        """Whether a document of any track was made under the same provenance."""
        provenance = provenance_in(path) or {}
        return all(provenance.get(key) == value for key, value in self.provenance.items())

    def _summary_is_own(self) -> bool:
        """Whether the summary that is there is of this evaluation, of these tracks or fewer."""
        names = {track.name for track in self._tracks}
        try:
            summary = read(self._folder / SUMMARY, damaged=True)
            scored = set(summary["provenance"]["scored_together"])
            return provenance_of(summary) == self.provenance and scored <= names
        except (MssctlError, KeyError, TypeError, AttributeError):
            return False

    def _mark(self, track: SongFiles) -> dict[str, Any]:
        """What the document of a track is made from."""
        paths = {**track.stems, "mixture": track.mixture, "packed": track.packed}
        files = {name: file_state(path) for name, path in sorted(paths.items()) if path is not None}
        return {**self.provenance, **self._mark_of(track), "files": files}


def sounds_of(page: Path) -> Path:
    """The folder of a report's listening pages, beside it."""
    return page.with_name(f"{page.stem}-sounds")


def _holds_sounds(folder: Path) -> bool:
    """Whether a folder is one of listening pages and may be replaced."""
    return folder.is_dir() and all((one / "index.html").is_file() for one in folder.iterdir())


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say where something could not be written.

    Raises:
        MssctlError: for an `OSError` (exit 3).
    """
    try:
        yield
    except OSError as error:
        raise MssctlError(
            f"{path}: {error.strerror or error}",
            hint="give another folder with `out`",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None
