"""The folder of an evaluation: a document per scored track, so that an interrupted one continues.

A track's document appears together with its stems and excerpts. What another evaluation left in
the folder is refused, or replaced with ``overwrite``: then the new files wait in a hidden folder
until all tracks are scored, and the old ones are there until the end.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
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
    has_failures,
    is_marked,
    provenance_in,
    provenance_of,
    read,
    whole,
)
from mssctl.files import FileSet, check_writable, copy_tree

Mark = Callable[[SongFiles], Mapping[str, Any]]

TABLES = (SUMMARY, "scores.csv", "scores.md")
_WAITING = ".mssctl-unfinished"
_HINT = "choose another folder with `out`, or replace what is there with `overwrite`"


class Store:
    """Documents of tracks, each with the provenance it was made under.

    Args:
        folder: where they lie, made by `check`; None keeps nothing.
        provenance: what the scores depend on.
        mark: what the estimates of a track depend on besides.
        overwrite: replace the results of other evaluations.
    """

    def __init__(
        self,
        folder: Path | None,
        provenance: Mapping[str, Any],
        mark: Mark,
        *,
        overwrite: bool = False,
    ) -> None:
        self.folder = folder
        self.provenance = parse_json(json.dumps(provenance), "provenance")  # as it reads
        self._mark_of = mark
        self._overwrite = overwrite
        self._place = folder  # where new files go
        self._open: dict[str, FileSet] = {}

    def check(
        self, tracks: Sequence[SongFiles], kinds: Sequence[str], page: Path | None
    ) -> list[str]:
        """Look for what this evaluation must not replace, before any work.

        Args:
            tracks: that are evaluated.
            kinds: folders for audio of each track.
            page: the report, if there is to be one.

        Returns:
            Notes on documents of other evaluations that stay.

        Raises:
            MssctlError: something is there that may not be replaced (exit 2), or nothing can be
                written there (exit 3).
        """
        if self.folder is None:
            return []
        check_writable(self.folder / SUMMARY)
        foreign = self._foreign(self.folder, tracks, kinds)
        if page is not None:
            check_writable(page)
            foreign += self._foreign_page(self.folder, page)
        if foreign and not self._overwrite:
            path, reason = foreign[0]
            more = f" (and {len(foreign) - 1} more)" if len(foreign) > 1 else ""
            raise MssctlError(f"{path}: {reason}{more}", hint=_HINT, exit_code=ExitCode.USAGE)
        waits = any(path != page for path, _ in foreign)
        place = self._place = self.folder / _WAITING if waits else self.folder
        notes = self._others(self.folder, tracks)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(place, error) from None
        return notes

    def find(self, track: SongFiles, kinds: Sequence[str] = ()) -> Document | None:
        """The track's document, if it was made from the same files under the same provenance.

        ``kinds`` are the folders for audio that must be there, too.
        """
        for folder in dict.fromkeys((self._place, self.folder)):
            if folder is None:
                continue
            if not all((folder / kind / track.name).is_dir() for kind in kinds):
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

    def begin(self, track: SongFiles, kinds: Sequence[str]) -> dict[str, Path]:
        """Folders for the audio of a track, which appear together with its document."""
        if self._place is None:
            return {}
        self.drop(track)
        files = self._open[track.name] = FileSet(
            self._place, overwrite=lambda path: self._owns(path, track), hint=_HINT
        )
        try:
            return {kind: files.add_folder(self._place / kind / track.name) for kind in kinds}
        except OSError as error:
            raise _unwritable(self._place, error) from None

    def keep(self, track: SongFiles, made: Document) -> Document:
        """Publish the document of a track that was begun; returns it with its provenance.

        One that has no scores because something failed is not kept.

        Raises:
            MssctlError: it cannot be written (exit 3), or something appeared there (exit 2).
        """
        if made.get("failures") and not made["scores"]:
            self.drop(track)
            return made
        document = {**made, "provenance": self._mark(track)}
        if self._place is not None:
            files = self._open[track.name]
            path = document_place(self._place, track.name, document)
            try:
                files.add(path).write_text(as_text(document), encoding="utf-8")
                files.publish()
            except OSError as error:
                raise _unwritable(path, error) from None
            self.drop(track)
        return document

    def finish(
        self, tracks: Sequence[SongFiles], kinds: Sequence[str], tables: Mapping[str, str]
    ) -> None:
        """Publish the tables, and the new files that waited for the end.

        Args:
            tracks: that were evaluated.
            kinds: folders for audio of each track.
            tables: name -> text, the summary among them.

        Raises:
            MssctlError: a file cannot be written (exit 3), or something appeared there (exit 2).
        """
        assert self.folder is not None
        assert self._place is not None
        own = self._overwrite or self._summary_is_own(self.folder, tracks)
        try:
            with FileSet(self.folder, overwrite=own, hint=_HINT) as files:
                for name, text in tables.items():
                    files.add(self.folder / name).write_text(
                        text, encoding="utf-8", errors="backslashreplace"
                    )
                if self._place != self.folder:
                    self._publish_waiting(files, tracks, kinds)
            if self._place != self.folder:
                self._remove_replaced(self.folder, tracks)
                shutil.rmtree(self._place, ignore_errors=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def write_page(self, page: Path, text: str, plots: Mapping[str, str]) -> None:
        """Publish the report and its plots.

        Raises:
            MssctlError: a file cannot be written (exit 3), or may not be replaced (exit 2).
        """
        assert self.folder is not None

        def own(path: Path) -> bool:
            return self._overwrite or is_marked(path, self.provenance)

        try:
            page.parent.mkdir(parents=True, exist_ok=True)
            with FileSet(self.folder, overwrite=own, hint=_HINT) as files:
                for name, plot in plots.items():
                    files.add(self.folder / "plots" / name).write_text(plot, encoding="utf-8")
                files.add(page).write_text(text, encoding="utf-8")
        except OSError as error:
            raise _unwritable(page, error) from None

    def close(self) -> None:
        """Remove what was begun and not kept."""
        for files in self._open.values():
            files.discard()
        self._open = {}

    def drop(self, track: SongFiles) -> None:
        """Remove what was begun of a track."""
        if files := self._open.pop(track.name, None):
            files.discard()

    def _publish_waiting(
        self, files: FileSet, tracks: Sequence[SongFiles], kinds: Sequence[str]
    ) -> None:
        assert self.folder is not None
        assert self._place is not None
        for track in tracks:
            for kind in kinds:
                if (waiting := self._place / kind / track.name).is_dir():
                    copy_tree(waiting, files.add_folder(self.folder / kind / track.name))
            for waiting in document_places(self._place, track.name):
                if waiting.is_file() and self._is_own(waiting, track):
                    copy_tree(waiting, files.add(self.folder / waiting.relative_to(self._place)))

    def _remove_replaced(self, folder: Path, tracks: Sequence[SongFiles]) -> None:
        """A track has one document: with BSSEval and without, its places differ."""
        for track in tracks:
            for path in document_places(folder, track.name):
                if provenance_in(path) is not None and not self._is_own(path, track):
                    path.unlink()

    def _foreign(
        self, folder: Path, tracks: Sequence[SongFiles], kinds: Sequence[str]
    ) -> list[tuple[Path, str]]:
        """What this evaluation would replace or mix with although it is not its own, and why."""
        found: list[tuple[Path, str]] = []
        summary = folder / SUMMARY
        if summary.exists() and not self._summary_is_own(folder, tracks):
            found.append((summary, "holds the results of another evaluation"))
        elif not summary.exists():
            tables = (folder / name for name in TABLES)
            found += [(path, "was not written by this evaluation") for path in tables
                      if path.exists()]  # fmt: skip
        for track in tracks:
            places = [folder / name / f"{track.name}.json" for name in FOLDERS]
            there = [path for path in places if path.exists()]
            found += [
                (path, f"holds results of {track.name} from other estimates, files or settings")
                for path in there
                if not self._is_own(path, track)
            ]
            if not there and self.find(track) is None:
                audio = (folder / kind / track.name for kind in kinds)
                found += [(path, "was not written by this evaluation") for path in audio
                          if path.exists()]  # fmt: skip
        return found

    def _foreign_page(self, folder: Path, page: Path) -> list[tuple[Path, str]]:
        if page.is_dir() or page.absolute() in [(folder / name).absolute() for name in TABLES]:
            raise MssctlError(
                f"`html` {page}: a folder, or a table of the evaluation",
                hint="name another file",
                exit_code=ExitCode.USAGE,
            )
        own = not os.path.lexists(page) or is_marked(page, self.provenance)
        return [] if own else [(page, "was not written by this evaluation")]

    def _others(self, folder: Path, tracks: Sequence[SongFiles]) -> list[str]:
        """Documents of tracks that are not evaluated, and not of this evaluation."""
        names = {track.name for track in tracks}
        others = [
            path
            for name in FOLDERS
            for path in sorted((folder / name).glob("*.json"))
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
        return [f"{folder}: {len(others)} documents of other evaluations stay (first: {others[0]})"]

    def _owns(self, path: Path, track: SongFiles) -> bool:
        """Whether a file or folder of a track may be replaced."""
        assert self.folder is not None
        if self._place != self.folder:
            return True  # only this evaluation writes there
        if path.suffix == ".json":
            return self._is_own(path, track)
        return any(self._is_own(place, track) for place in document_places(self.folder, track.name))

    def _is_own(self, path: Path, track: SongFiles) -> bool:
        """Whether a document is this evaluation's, or an earlier try of it that failed in part."""
        return provenance_in(path) == self._mark(track) or (
            has_failures(path) and self._is_related(path)
        )

    def _is_related(self, path: Path) -> bool:
        """Whether a document of any track was made under the same provenance."""
        provenance = provenance_in(path) or {}
        return all(provenance.get(key) == value for key, value in self.provenance.items())

    def _summary_is_own(self, folder: Path, tracks: Sequence[SongFiles]) -> bool:
        """Whether the summary that is there is of this evaluation, of these tracks or fewer."""
        try:
            summary = read(folder / SUMMARY, damaged=True)
            scored = set(summary["provenance"]["scored_together"])
            return provenance_of(summary) == self.provenance and scored <= {
                track.name for track in tracks
            }
        except (MssctlError, KeyError, TypeError, AttributeError):
            return False

    def _mark(self, track: SongFiles) -> dict[str, Any]:
        estimates = self._mark_of(track)
        if track.packed is not None:
            return {**self.provenance, **estimates, "files": {"packed": _state(track.packed)}}
        mixture = {} if track.mixture is None else {"mixture": track.mixture}
        files = {stem: _state(path) for stem, path in sorted({**track.stems, **mixture}.items())}
        return {**self.provenance, **estimates, "files": files}


def _state(path: Path) -> list[Any]:
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]


def _unwritable(path: Path, error: OSError) -> MssctlError:
    return MssctlError(
        f"{path}: {error.strerror or error}",
        hint="give another folder with `out`",
        exit_code=ExitCode.ENVIRONMENT,
    )
