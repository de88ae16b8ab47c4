"""Classify file and folder names: a stem, a split, a song, an audio file, or nothing.

Every reader of songs asks here, so that a name means the same to all of them.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from mssctl.audio.formats import AUDIO_SUFFIXES

MIXTURE = "mixture"
STEM_MP4 = ".stem.mp4"
USUAL_STEMS = ("vocals", "drums", "bass", "other")
LISTED = 5  # names in a sentence; the others are counted

_SPLITS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}
# Left by systems and archives beside the data; names that begin with a dot are hidden anyway.
_LEFTOVERS = frozenset(("__macosx", "@eadir", "lost+found", "$recycle.bin"))


def fold(name: str) -> str:
    """Fold what file systems change in a name: case, Unicode form, surrounding spaces."""
    folded = unicodedata.normalize("NFD", name).casefold().strip()
    return unicodedata.normalize("NFC", folded)


def song_name(name: str) -> str:
    """The name of a song in one Unicode form; unlike stems, songs may differ in case alone."""
    return unicodedata.normalize("NFC", name)


def stem_of(name: str, stems: Iterable[str]) -> str | None:
    """The one of ``stems`` that ``name`` (without suffix) means, however it is spelled."""
    return next((stem for stem in stems if fold(stem) == fold(name)), None)


def split_of(name: str) -> str | None:
    """``train``, ``valid`` or ``test`` for any spelling of it; None for another name."""
    return _SPLITS.get(fold(name))


def is_visible(path: PurePath) -> bool:
    """Whether a name is neither hidden nor left behind by a system or an archive."""
    return not path.name.startswith(".") and fold(path.name) not in _LEFTOVERS


def is_audio(path: PurePath) -> bool:
    """Whether a name says that this is an audio file of one stem or song."""
    return path.suffix.lower() in AUDIO_SUFFIXES and not is_stem_mp4(path)


def stem_mp4_name(path: PurePath) -> str:
    """The name of the song in such a file."""
    return song_name(path.name[: -len(STEM_MP4)])


def is_stem_mp4(path: PurePath) -> bool:
    """Whether a name says that this file holds all stems of a song, as MUSDB18's do."""
    return path.name.lower().endswith(STEM_MP4)


def some(names: Sequence[str]) -> str:
    """The first few names, and how many others there are."""
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
