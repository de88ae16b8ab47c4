"""Where a run's songs come from: what ``data.json`` in its folder holds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mssctl.data.layouts import SongSets, find_songs
from mssctl.documents import read_json
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter
from mssctl.models.run_config import RunConfig
from mssctl.training import song_list


@dataclass(frozen=True)
class Sources:
    """Folders of songs, as absolute paths, and how they are laid out."""

    roots: list[str]
    valid: str | None
    layout: str

    @classmethod
    def stored(cls, path: Path) -> Sources:
        """Read ``data.json``.

        Raises:
            MssctlError: it is damaged.
        """
        try:
            found = cls(**read_json(path))
        except TypeError as error:
            raise MssctlError(f"{path}: damaged: {error}") from None
        roots: Any = found.roots
        texts = roots if isinstance(roots, list) and roots else [None]
        texts = [*texts, found.layout, found.valid or ""]
        if not all(isinstance(text, str) and "\0" not in text for text in texts):
            raise MssctlError(f"{path}: damaged: it names no data folders")
        return found

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=2)

    def moved(self, roots: list[str], valid: str | None) -> Sources:
        """The same sources in other places.

        Raises:
            MssctlError: other ones than a move explains (exit 2).
        """
        if roots and len(roots) != len(self.roots):
            raise MssctlError(
                f"the run has {len(self.roots)} data folders, --data names {len(roots)}",
                hint=f"name all of them in this order: {', '.join(self.roots)}",
                exit_code=ExitCode.USAGE,
            )
        if valid and not self.valid:
            raise MssctlError(
                "--valid: the held-out songs of this run are in its data folders",
                hint="leave it out",
                exit_code=ExitCode.USAGE,
            )
        return Sources(roots or self.roots, valid or self.valid, self.layout)

    def look(self, songs: SongSets, report: Reporter) -> song_list.SongList:
        """The list of the songs for later resumes."""
        valid = Path(self.valid) if self.valid else None
        return song_list.look(songs, [Path(root) for root in self.roots], valid, report)

    def listed(
        self, songs: SongSets, before: song_list.SongList | None, report: Reporter
    ) -> song_list.SongList:
        """The list of the songs, compared with that of the sessions ``before``.

        Raises:
            MssctlError: a song that was trained on is among the held-out ones.
        """
        now = self.look(songs, report)
        if before is None:
            report(Notice("a run of an earlier version: its songs are listed from now on"))
            return now
        return song_list.compared(before, now, report)

    def songs(self, config: RunConfig, report: Reporter) -> SongSets:
        """Find them, and say how many there are."""
        weights = config.data.weights
        if weights and len(weights) != len(self.roots):
            raise MssctlError(
                f"data.weights has {len(weights)} numbers, there are {len(self.roots)} data roots",
                hint="one weight per --data, in their order",
                exit_code=ExitCode.USAGE,
            )
        songs = find_songs(
            [Path(root) for root in self.roots],
            config.audio,
            layout=self.layout,
            valid=Path(self.valid) if self.valid else None,
            report=report,
        )
        report(Notice(f"{len(songs.train)} training songs, {len(songs.valid)} held out"))
        return songs


def absolute(path: str | Path) -> str:
    """A path as ``data.json`` holds it."""
    return str(Path(path).expanduser().absolute())
