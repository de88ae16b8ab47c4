"""Where the songs of a training set lie on disk, which split they belong to, and what they lack.

Only headers are read here. A layout is one function in `LAYOUTS`: from a folder to its songs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mssctl.audio.files import probe
from mssctl.config.schema import AudioConfig
from mssctl.errors import ExitCode, MssctlError, did_you_mean
from mssctl.events import Notice, Reporter, silent

SUFFIXES = (".wav", ".flac")


@dataclass(frozen=True)
class StemFile:
    """One stem of one song on disk."""

    path: Path
    frames: int
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class Song:
    """One song: a file for each stem it has. A stem without a file is silence."""

    name: str
    folder: Path
    stems: Mapping[str, StemFile]

    @property
    def frames(self) -> int:
        """Length of its longest stem; shorter ones are silent after their end."""
        return max(stem.frames for stem in self.stems.values())


@dataclass(frozen=True)
class SongSets:
    """The two splits a training run reads. There is no way to a test split from here."""

    train: tuple[Song, ...]
    valid: tuple[Song, ...]


def find_songs(
    roots: Sequence[Path],
    audio: AudioConfig,
    *,
    layout: str = "auto",
    valid: Path | None = None,
    report: Reporter = silent,
) -> SongSets:
    """Find the training and validation songs.

    Each root either holds the split folders ``train`` and ``valid``, or is itself a folder of
    training songs; ``valid`` names the held-out songs then. A folder named ``test`` is never read.

    Args:
        roots: one or several data folders; their songs are pooled.
        audio: stems, sample rate and channels that the model works with.
        layout: a name in `LAYOUTS`, or ``auto``.
        valid: folder of held-out songs, instead of the ``valid`` folders in ``roots``.
        report: is told what the songs lack.

    Raises:
        MssctlError: no songs, no held-out songs, a song in both splits, another sample rate,
            or channels that do not go together.
    """
    if not roots:
        raise MssctlError(
            "no training data",
            hint="name a folder of songs with --data; `mssctl data synth` makes one",
        )
    find = _layout(layout)
    train_roots = [_split(root, "train") or root for root in roots]
    train = [song for root in train_roots for song in find(root, audio.stems)]
    held_out = [valid] if valid else [path for root in roots if (path := _split(root, "valid"))]
    if not held_out:
        raise MssctlError(
            f"{', '.join(map(str, roots))}: no held-out songs to validate on",
            hint="put some songs into a 'valid' folder beside 'train', or name one with --valid",
        )
    validation = [song for root in held_out for song in find(root, audio.stems)]
    _no_song_twice(train, validation)
    for root in (*train_roots, *held_out):
        _tell_what_is_skipped(root, [*train, *validation], report)
    for songs, split in ((train, "training"), (validation, "validation")):
        _check_audio(songs, audio)
        _tell_what_is_missing(songs, split, audio, report)
    return SongSets(tuple(train), tuple(validation))


def song_folders(root: Path, stems: tuple[str, ...]) -> list[Song]:
    """Layout ``stems``: ``ROOT/SONG/{stem}.wav`` or ``.flac``, in the order of their names."""
    _refuse_test(root)
    if not root.is_dir():
        raise MssctlError(f"{root}: no such folder")
    songs = []
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and folder.name.lower() != "test":
            files = _stem_files(folder, stems)
            if files:
                songs.append(Song(folder.name, folder, files))
    if not songs:
        raise MssctlError(
            f"{root}: no songs here",
            hint=f"expected SONG/{stems[0]}.wav and so on; `mssctl data synth` makes such a folder",
        )
    return songs


LAYOUTS: dict[str, Callable[[Path, tuple[str, ...]], list[Song]]] = {"stems": song_folders}


def _layout(name: str) -> Callable[[Path, tuple[str, ...]], list[Song]]:
    if name == "auto":
        return song_folders
    if name not in LAYOUTS:
        raise MssctlError(
            f"no data layout '{name}'",
            hint=did_you_mean(name, ["auto", *LAYOUTS]),
            exit_code=ExitCode.USAGE,
        )
    return LAYOUTS[name]


def _split(root: Path, name: str) -> Path | None:
    path = root / name
    return path if path.is_dir() else None


def _refuse_test(root: Path) -> None:
    if root.resolve().name.lower() == "test":
        raise MssctlError(
            f"{root}: a test split is not for training or choosing models",
            hint="name another folder; scores on a test split come from `mssctl eval`",
        )


def _stem_files(folder: Path, stems: tuple[str, ...]) -> dict[str, StemFile]:
    found = {}
    for stem in stems:
        paths = [path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()]
        if len(paths) > 1:
            raise MssctlError(f"{paths[0]} and {paths[1].name}: which one?", hint="remove one")
        if paths:
            info = probe(paths[0])
            found[stem] = StemFile(paths[0], info.frames, info.sample_rate, info.channels)
    return found


def _no_song_twice(train: Iterable[Song], valid: Iterable[Song]) -> None:
    seen = {song.folder.resolve() for song in train}
    for song in valid:
        if song.folder.resolve() in seen:
            raise MssctlError(
                f"{song.folder}: the same song is in training and validation",
                hint="validation songs must not be trained on",
            )


def _check_audio(songs: Iterable[Song], audio: AudioConfig) -> None:
    for stem in (stem for song in songs for stem in song.stems.values()):
        if stem.sample_rate != audio.sample_rate:
            raise MssctlError(
                f"{stem.path}: {stem.sample_rate} Hz, the model works at {audio.sample_rate} Hz",
                hint=f"resample the stems, or --set audio.sample_rate={stem.sample_rate}",
            )
        if stem.channels != audio.channels and 1 not in (stem.channels, audio.channels):
            raise MssctlError(
                f"{stem.path}: {stem.channels} channels, the model has {audio.channels}",
                hint="mix the stems down first",
            )


def _tell_what_is_skipped(root: Path, songs: Sequence[Song], report: Reporter) -> None:
    used = {song.folder for song in songs}
    skipped = sorted(
        path.name
        for path in root.iterdir()
        if path.is_dir()
        and path not in used
        and path.name.lower() not in ("valid", "test")
        and not path.name.startswith(".")
    )
    if skipped:
        count = f"{len(skipped)} folder{'s' if len(skipped) > 1 else ''}"
        _notice(report, f"{root}: {count} without a stem (first: {skipped[0]}): skipped")


def _tell_what_is_missing(
    songs: Sequence[Song], split: str, audio: AudioConfig, report: Reporter
) -> None:
    for name in audio.stems:
        without = [song for song in songs if name not in song.stems]
        if len(without) == len(songs):
            raise MssctlError(
                f"{songs[0].folder.parent}: no {split} song has the stem '{name}'",
                hint="name the stems there are with --set audio.stems=[...]",
            )
        if without:
            some = f"{len(without)} of {len(songs)} {split} songs"
            _notice(report, f"{some} have no {name} (first: {without[0].name}): silence")
    uneven = [song for song in songs if len({stem.frames for stem in song.stems.values()}) > 1]
    if uneven:
        some = f"{len(uneven)} {split} songs have stems of unequal length"
        _notice(report, f"{some} (first: {uneven[0].name}): silence after the end")
    other = sum(stem.channels != audio.channels for song in songs for stem in song.stems.values())
    if other:
        change = (
            "averaged to one channel" if audio.channels == 1 else "mono: copied to both channels"
        )
        _notice(report, f"{other} {split} stems are {change}")


def _notice(report: Reporter, message: str) -> None:
    report(Notice(message, level="warning"))
