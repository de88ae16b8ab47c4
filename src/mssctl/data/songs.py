"""Songs: as names of files, for every reader of them, and with their file headers read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from mssctl.data import musdb18
from mssctl.data.folders import refuse_broken_link
from mssctl.data.names import MIXTURE, fold
from mssctl.data.summed import summed

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class SongFiles:
    """One song as it lies on disk; no file was opened yet.

    Attributes:
        name: of the song.
        folder: its folder, or the one file that holds it.
        stems: stem -> file. Empty for a ``.stem.mp4``, which has to be decoded first, and for
            stems of several files, which have to be added up first.
        mixture: file of the mixture, if there is one; training never reads it.
        loose: a sample on its own: it has one stem, and nothing else belongs to it.
        parts: stem, or ``mixture`` -> its files, where a stem may have several.
    """

    name: str
    folder: Path
    stems: Mapping[str, Path]
    mixture: Path | None = None
    loose: bool = False
    parts: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    @property
    def packed(self) -> Path | None:
        """The ``.stem.mp4``, or the folder of the parts of stems, for `unpacked`."""
        return None if self.stems or self.mixture else self.folder

    @property
    def files(self) -> list[Path]:
        """All files of the song."""
        found = [*self.stems.values(), self.mixture]
        found += [path for paths in self.parts.values() for path in paths]
        return [path for path in found if path is not None] or [self.folder]

    def unpacked(self) -> Self:
        """The song with a file for each stem, decoded or added up into the cache if need be.

        Raises:
            MssctlError: the ``.stem.mp4`` or a part cannot be read, or parts do not go together.
        """
        if self.packed is None:
            return self
        refuse_broken_link(self.packed)
        stems = summed(self.parts) if self.parts else musdb18.decoded(self.packed)
        mixture = stems.pop(MIXTURE, None)
        return replace(self, stems=stems, mixture=mixture, parts={})

    def named(self, stems: Sequence[str]) -> Self:
        """The song with its stems under the names that a model has for them."""
        names = {fold(stem): stem for stem in stems}
        return replace(self, stems={names.get(s, s): path for s, path in self.stems.items()})


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
    splits: Mapping[str, list[SongFiles]]
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
        loose: see `SongFiles`.
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
