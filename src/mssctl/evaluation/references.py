"""Reference tracks on disk: folders of ``{mixture,vocals,drums,bass,other,...}.wav``.

MUSDB18 as well: its folders, and its ``.stem.mp4`` files, which are decoded when they are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mssctl.audio import files
from mssctl.audio.files import AudioInfo
from mssctl.config.schema import AudioConfig
from mssctl.data import musdb18
from mssctl.data.folders import (
    audio_files,
    deeper,
    entries,
    folders,
    is_folder,
    is_song,
    only,
    real,
    refuse_broken_link,
    split_folder,
)
from mssctl.data.names import MIXTURE, fold, is_stem_mp4, some, song_name, split_of, stem_mp4_name
from mssctl.errors import MssctlError
from mssctl.evaluation.sums import sums

Audio = NDArray[np.float32]  # (C, N)

_LAYOUT = "expected track folders with vocals.wav, drums.wav, ..., and mixture.wav"
_MUSDB = "MUSDB18 has the folders train, test"


@dataclass(frozen=True)
class ReferenceTrack:
    """The files of one track: stem -> file, and the mixture's if it has one.

    Attributes:
        stems: under their names as `mssctl.data.names.fold` gives them.
        packed: the ``.stem.mp4`` that holds them all, for `unpacked`.
    """

    name: str
    stems: dict[str, Path]
    mixture: Path | None
    packed: Path | None = None

    def unpacked(self) -> ReferenceTrack:
        """The track with files of its own, decoded into the cache if need be.

        Raises:
            MssctlError: ffmpeg is missing, or the file is damaged.
        """
        if self.packed is None:
            return self
        refuse_broken_link(self.packed)
        streams = musdb18.decoded(self.packed)
        mixture = streams.pop(MIXTURE)
        return ReferenceTrack(self.name, streams, mixture)

    def named(self, stems: Sequence[str]) -> ReferenceTrack:
        """The track with its stems under the names that a model has for them."""
        names = {fold(stem): stem for stem in stems}
        files = {names.get(stem, stem): path for stem, path in self.stems.items()}
        return replace(self, stems=files)

    def needed(self, stems: Sequence[str], *, add_up: bool = True) -> dict[str, Path]:
        """Files to read for scoring ``stems``: theirs, and those that make up the mixture."""
        wanted = {stem: self.stems[stem] for stem in stems if stem in self.stems}
        if self.mixture is not None:
            return {MIXTURE: self.mixture, **wanted}
        return self.stems if add_up else wanted

    def samples(self, stems: Sequence[str]) -> int:
        """Samples of ``stems``, all channels, by the headers; of a packed one, of four minutes."""
        if self.packed is not None:
            return 4 * 2 * 240 * 44_100
        infos = [probe(self.stems[stem]) for stem in stems if stem in self.stems]
        return sum(info.frames * info.channels for info in infos)


@dataclass(frozen=True)
class ReferenceAudio:
    """The audio of one track, each ``(C, N)`` of equal shape, at ``rate`` Hz.

    Attributes:
        notes: what is odd about its files, and what makes up a mixture that had no file.
    """

    stems: dict[str, Audio]
    mixture: Audio | None
    rate: int
    notes: tuple[str, ...] = ()


def find_tracks(reference: Path, *, nested: bool = False) -> tuple[list[ReferenceTrack], list[str]]:
    """Tracks in a folder of track folders, or the one track that the folder itself is.

    Names count as in training data (`mssctl.data.names`): any spelling of a stem, any suffix of
    audio. A level of folders that an archive added is passed through.

    Args:
        reference: the folder.
        nested: also look for track folders in ``train``, ``valid`` and ``test``.

    Returns:
        The tracks, sorted by name, and notes on what was passed over.

    Raises:
        MssctlError: no such folder, no tracks, two files for one stem, or something that cannot
            be read.
    """
    if not is_folder(reference):
        what = "not a folder" if reference.exists() else "no such folder"
        raise MssctlError(f"{reference}: {what}", hint=_LAYOUT)
    tracks, notes = _unpacked(reference, nested=nested)
    if not tracks:
        splits = _splits(reference) or _splits(deeper(reference, lambda path: bool(_splits(path))))
        hint = f"name one of its splits: {some(splits)}" if splits else _LAYOUT
        raise MssctlError(f"{reference}: no reference tracks", hint=hint)
    return tracks, notes


def _splits(folder: Path | None) -> list[str]:
    """The folders of splits in a folder."""
    return [str(path) for path in folders(folder) if split_of(path.name)] if folder else []


def _unpacked(place: Path, *, nested: bool) -> tuple[list[ReferenceTrack], list[str]]:
    """The tracks in a folder, or deeper in it, as archives unpack them; and notes."""
    tracks, notes = _tracks(place, nested=nested)
    inner = (
        None if tracks else deeper(place, lambda folder: bool(_tracks(folder, nested=nested)[0]))
    )
    if inner is not None:
        tracks, notes = _tracks(inner, nested=nested)
        notes.insert(0, f"{place}: no tracks here; those in {inner} are taken")
    return tracks, notes


def _tracks(place: Path, *, nested: bool) -> tuple[list[ReferenceTrack], list[str]]:
    """The tracks in a folder, and notes on what else is there."""
    own = _track(place)
    if own is not None and is_song(place):
        return [own], []
    tracks: list[ReferenceTrack] = []
    notes: list[str] = []
    without: list[str] = []
    for folder in folders(place):
        track = _track(folder)
        if track is not None:
            tracks.append(track)
        elif nested and split_of(folder.name):
            more, skipped = _unpacked(folder, nested=False)
            tracks += more
            notes += skipped
        else:
            without.append(folder.name)
    if not tracks and own is not None:  # stems with names of their own
        return [own], []
    if without:
        count = f"{len(without)} folder{'s' if len(without) > 1 else ''}"
        notes.append(f"{place}: {count} without audio files skipped: {some(without)}")
    if own is not None:
        names = [path.name for path in (*own.stems.values(), own.mixture) if path]
        notes.append(f"{place}: {len(names)} files beside the tracks skipped: {some(names)}")
    return tracks, notes


def check(
    track: ReferenceTrack, *, model: str, audio: AudioConfig, add_up: bool = True
) -> list[str]:
    """Compare a track's file headers with what a model needs, before anything is computed.

    Args:
        track: the track.
        model: name of the model, for messages.
        audio: stems, sample rate and channels that the model works with.
        add_up: make a mixture that is not there from the stems; else there is none.

    Returns:
        Notes on what had to be decided: which files make up a mixture that is not there.

    Raises:
        MssctlError: no reference for any of the stems, no mixture and no way to make it, or a
            file of another rate, channel count or length.
    """
    stems, notes = audio.outputs, []
    if not any(stem in track.stems for stem in stems):
        raise MssctlError(
            f"{track.name}: none of the stems of '{model}' ({', '.join(stems)})",
            hint=f"found: {', '.join(track.stems) or 'the mixture only'}",
        )
    if track.mixture is None and add_up:
        missing = [stem for stem in audio.stems if stem not in track.stems]
        if missing:
            raise MssctlError(
                f"{track.name}: no mixture file, and no {', '.join(missing)} to make it from",
                hint="add mixture.wav, or silent files for stems that the song does not have",
            )
        notes.append(f"{track.name}: no mixture file: the sum of {', '.join(track.stems)} is used")
    lengths = {}
    for path in track.needed(stems, add_up=add_up).values():
        info = probe(path)
        _fits(info, model, audio)
        lengths[path.name] = info.frames
    if len(set(lengths.values())) > 1:
        sizes = ", ".join(f"{name} {frames}" for name, frames in lengths.items())
        raise MssctlError(
            f"{track.name}: the files differ in length (frames): {sizes}",
            hint="cut or pad them to one length",
        )
    return notes


def find_musdb(root: Path, split: str) -> tuple[list[ReferenceTrack], list[str]]:
    """Tracks of a split of MUSDB18 or MUSDB18-HQ, in order of name.

    Args:
        root: the folder that holds ``train`` and ``test``.
        split: ``train``, ``valid`` (14 tracks of the training folder, as musdb has them), ``test``.

    Returns:
        The tracks, and notes on what was passed over.

    Raises:
        MssctlError: no such folder, or no tracks.
    """
    wanted, notes = "test" if split == "test" else "train", list[str]()
    if not is_folder(root):
        raise MssctlError(f"{root}: no such folder", hint=_MUSDB)
    folder = split_folder(root, wanted)
    if folder is None:
        inner = deeper(root, lambda place: split_folder(place, wanted) is not None)
        folder = inner and split_folder(inner, wanted)
        if folder is None:
            raise MssctlError(f"{root / wanted}: no such folder", hint=_MUSDB)
        notes.append(f"{root}: no '{wanted}' here; the one in {inner} is taken")
    tracks = [
        ReferenceTrack(stem_mp4_name(path), {}, None, path)
        for path in entries(folder)
        if is_stem_mp4(path)
    ]
    if not tracks:
        tracks, more = find_tracks(folder)
        notes += more
    if split != "test":
        held_out = musdb18.validation_tracks()
        tracks = [track for track in tracks if (track.name in held_out) == (split == "valid")]
    if not tracks:
        raise MssctlError(f"{folder}: none of the tracks of the split '{split}'")
    return tracks, notes


def read(track: ReferenceTrack, stems: Sequence[str], *, add_up: bool = True) -> ReferenceAudio:
    """Read the mixture and those of ``stems`` that the track has.

    Without a mixture it is the sum of the stems, but of those that are sums of others; or with
    ``add_up`` off, there is none.

    Raises:
        MssctlError: a file cannot be read, or has samples that are NaN or infinite.
    """
    paths = track.needed(stems, add_up=add_up)
    notes: list[str] = []
    audio = {stem: noted(path, notes) for stem, path in paths.items()}
    rate = files.probe(next(iter(paths.values()))).sample_rate
    mixture = audio.get(MIXTURE)
    if mixture is None and add_up:
        again = sums(audio)
        parts = [sound for stem, sound in audio.items() if stem not in again]
        mixture = np.stack(parts).sum(axis=0, dtype=np.float64).astype(np.float32)
        notes += [
            f"{stem} is the sum of {', '.join(names)}: not added to the mixture once more"
            for stem, names in again.items()
        ]
    found = {stem: audio[stem] for stem in stems if stem in audio}
    return ReferenceAudio(found, mixture, rate, tuple(notes))


def _track(folder: Path) -> ReferenceTrack | None:
    """The track whose files lie in ``folder``; None if there are none."""
    found = {name: only(files) for name, files in audio_files(entries(folder)).items()}
    if not found:
        return None
    mixture = found.pop(MIXTURE, None)
    name = real(folder).name if folder.name in ("", "..") else folder.name
    return ReferenceTrack(song_name(name), found, mixture)


def noted(path: Path, notes: list[str]) -> Audio:
    """A whole file ``(C, N)``; what is odd about it goes into ``notes``.

    Raises:
        MssctlError: it cannot be read.
    """
    return files.read(path, note=lambda note: notes.append(f"{path.name}: {note}"))


def probe(path: Path) -> AudioInfo:
    """The header of a reference or an estimate.

    Raises:
        MssctlError: it cannot be read; that a link leads nowhere is said.
    """
    refuse_broken_link(path)
    return files.probe(path)


def _fits(info: AudioInfo, model: str, audio: AudioConfig) -> None:
    """Whether a file has the model's rate and channels."""
    rate, channels = audio.sample_rate, audio.channels
    if info.sample_rate != rate:
        raise MssctlError(
            f"{info.path}: {info.sample_rate} Hz, but '{model}' works at {rate} Hz",
            hint=f"give references at {rate} Hz; eval does not resample them",
        )
    if info.channels != channels:
        raise MssctlError(
            f"{info.path}: channels: {info.channels}, but '{model}' works on {channels}",
            hint=f"give references with {channels}; eval does not change the channels",
        )
