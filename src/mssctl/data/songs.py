"""What a data folder holds: songs as names of files, and songs whose file headers were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Entry:
    """One song as a layout found it; no file was opened yet.

    Attributes:
        name: of the song.
        folder: its folder, or the one file that holds it.
        files: stem -> file. Empty for a ``.stem.mp4``, which has to be decoded first.
        mixture: file of the mixture, if there is one; training never reads it.
        loose: a sample on its own: it has one stem, and nothing else belongs to it.
    """

    name: str
    folder: Path
    files: Mapping[str, Path]
    mixture: Path | None = None
    loose: bool = False


@dataclass(frozen=True)
class Listing:
    """All songs below one root, by split.

    Attributes:
        root: the folder or table.
        layout: the layout's name.
        splits: ``train``, ``valid`` and ``test`` -> songs; only those that exist.
        skipped: sentences on what was left out.
    """

    root: Path
    layout: str
    splits: Mapping[str, list[Entry]]
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StemFile:
    """One stem of one song on disk."""

    path: Path
    frames: int
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class Song:
    """One song: a file for each stem it has. A stem without a file is silence.

    Attributes:
        name: of the song.
        folder: its folder, or the one file that holds it.
        stems: stem -> file.
        root: number of the data root it belongs to.
        loose: see `Entry`.
    """

    name: str
    folder: Path
    stems: Mapping[str, StemFile]
    root: int = 0
    loose: bool = False

    @property
    def frames(self) -> int:
        """Length of its longest stem; shorter ones are silent after their end."""
        return max(stem.frames for stem in self.stems.values())


@dataclass(frozen=True)
class SongSets:
    """The two splits a training run reads. There is no way to a test split from here."""

    train: tuple[Song, ...]
    valid: tuple[Song, ...]
