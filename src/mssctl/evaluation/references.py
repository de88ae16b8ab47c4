"""Reference tracks on disk: folders of ``{mixture,vocals,drums,bass,other,...}.{wav,flac}``.

MUSDB18 as well: its folders, and its ``.stem.mp4`` files, which are decoded when they are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mssctl.audio import files
from mssctl.audio.files import AudioInfo
from mssctl.config.schema import AudioConfig
from mssctl.data import musdb18
from mssctl.errors import MssctlError

Audio = NDArray[np.float32]  # (C, N)

MIXTURE = "mixture"
SUFFIXES = (".wav", ".flac")
_SPLITS = ("train", "valid", "test")
_LAYOUT = "expected track folders with vocals.wav, drums.wav, ... (or .flac), and mixture.wav"


@dataclass(frozen=True)
class ReferenceTrack:
    """The files of one track: stem -> file, and the mixture's if it has one.

    Attributes:
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
        streams = musdb18.decoded(self.packed)
        mixture = streams.pop(musdb18.MIXTURE)
        return ReferenceTrack(self.name, streams, mixture)

    def needed(self, stems: Sequence[str], *, add_up: bool = True) -> dict[str, Path]:
        """Files to read for scoring ``stems``: theirs, and those that make up the mixture."""
        wanted = {stem: self.stems[stem] for stem in stems if stem in self.stems}
        if self.mixture is not None:
            return {MIXTURE: self.mixture, **wanted}
        return self.stems if add_up else wanted

    def samples(self) -> int:
        """Samples of all stems and channels, by the headers; of a packed one, of four minutes."""
        if self.packed is not None:
            return 4 * 2 * 240 * 44_100
        infos = [files.probe(path) for path in self.stems.values()]
        return sum(info.frames * info.channels for info in infos)


@dataclass(frozen=True)
class ReferenceAudio:
    """The audio of one track, each ``(C, N)`` of equal shape, at ``rate`` Hz."""

    stems: dict[str, Audio]
    mixture: Audio | None
    rate: int


def find_tracks(reference: Path, *, nested: bool = False) -> tuple[list[ReferenceTrack], list[str]]:
    """Tracks in a folder of track folders, or the one track that the folder itself is.

    Hidden files and folders do not count.

    Args:
        reference: the folder.
        nested: also look for track folders in ``train``, ``valid`` and ``test``.

    Returns:
        The tracks, sorted by name, and a note on each folder that has no audio.

    Raises:
        MssctlError: no such folder, no tracks, or two files for one stem.
    """
    if not reference.is_dir():
        what = "not a folder" if reference.exists() else "no such folder"
        raise MssctlError(f"{reference}: {what}", hint=_LAYOUT)
    single = _track(reference)
    if single is not None:
        return [single], []
    tracks: list[ReferenceTrack] = []
    notes: list[str] = []
    for folder in _listing(reference):
        if not folder.is_dir():
            continue
        track = _track(folder)
        if track is None and nested and folder.name in _SPLITS:
            more, skipped = find_tracks(folder)
            tracks += more
            notes += skipped
        elif track is None:
            notes.append(f"{folder.name}: no wav or flac files, not a track")
        else:
            tracks.append(track)
    if not tracks:
        raise MssctlError(f"{reference}: no reference tracks", hint=_LAYOUT)
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
        info = files.probe(path)
        _fits(info, model, audio)
        lengths[path.name] = info.frames
    if len(set(lengths.values())) > 1:
        sizes = ", ".join(f"{name} {frames}" for name, frames in lengths.items())
        raise MssctlError(
            f"{track.name}: the files differ in length (frames): {sizes}",
            hint="cut or pad them to one length",
        )
    return notes


def find_musdb(root: Path, split: str) -> list[ReferenceTrack]:
    """Tracks of a split of MUSDB18 or MUSDB18-HQ, in order of name.

    Args:
        root: the folder that holds ``train`` and ``test``.
        split: ``train``, ``valid`` (14 tracks of the training folder, as musdb has them), ``test``.

    Raises:
        MssctlError: no such folder, or no tracks.
    """
    folder = root / ("test" if split == "test" else "train")
    if not folder.is_dir():
        raise MssctlError(f"{folder}: no such folder", hint="MUSDB18 has the folders train, test")
    packed = [
        ReferenceTrack(path.name.removesuffix(musdb18.SUFFIX), {}, None, path)
        for path in _listing(folder)
        if path.name.endswith(musdb18.SUFFIX)
    ]
    tracks = packed or find_tracks(folder)[0]
    if split != "test":
        held_out = musdb18.validation_tracks()
        tracks = [track for track in tracks if (track.name in held_out) == (split == "valid")]
    if not tracks:
        raise MssctlError(f"{folder}: none of the tracks of the split '{split}'")
    return tracks


def read(track: ReferenceTrack, stems: Sequence[str], *, add_up: bool = True) -> ReferenceAudio:
    """Read the mixture and those of ``stems`` that the track has.

    Without a mixture it is the sum of the stems, or with ``add_up`` off, there is none.

    Raises:
        MssctlError: a file cannot be read, or has samples that are NaN or infinite.
    """
    paths = track.needed(stems, add_up=add_up)
    audio = {stem: files.read(path) for stem, path in paths.items()}
    rate = files.probe(next(iter(paths.values()))).sample_rate
    mixture = audio.get(MIXTURE)
    if mixture is None and add_up:
        mixture = np.stack(list(audio.values())).sum(axis=0, dtype=np.float64).astype(np.float32)
    return ReferenceAudio({stem: audio[stem] for stem in stems if stem in audio}, mixture, rate)


def _track(folder: Path) -> ReferenceTrack | None:
    """The track whose files lie in ``folder``; None if there are none."""
    found: dict[str, Path] = {}
    for path in _listing(folder):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        if path.stem in found:
            raise MssctlError(
                f"{folder}: both {found[path.stem].name} and {path.name}",
                hint="keep one of them, so that it is clear which is the reference",
            )
        found[path.stem] = path
    if not found:
        return None
    mixture = found.pop(MIXTURE, None)
    return ReferenceTrack(name=folder.resolve().name, stems=found, mixture=mixture)


def _listing(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise MssctlError(f"{folder}: cannot be read: {error.strerror}") from None


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
