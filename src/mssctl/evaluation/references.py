"""Reference tracks on disk: folders of ``{mixture,vocals,drums,bass,other,...}.{wav,flac}``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mssctl.audio import files
from mssctl.audio.files import AudioInfo
from mssctl.config.schema import AudioConfig
from mssctl.errors import MssctlError

Audio = NDArray[np.float32]  # (C, N)

MIXTURE = "mixture"
SUFFIXES = (".wav", ".flac")
_LAYOUT = "expected track folders with vocals.wav, drums.wav, ... (or .flac), and mixture.wav"


@dataclass(frozen=True)
class ReferenceTrack:
    """The files of one track: stem -> file, and the mixture's if it has one."""

    name: str
    stems: dict[str, Path]
    mixture: Path | None

    def needed(self, stems: Sequence[str]) -> dict[str, Path]:
        """Files to read for scoring ``stems``: theirs, and those that make up the mixture."""
        if self.mixture is None:
            return self.stems
        wanted = {stem: self.stems[stem] for stem in stems if stem in self.stems}
        return {MIXTURE: self.mixture, **wanted}


@dataclass(frozen=True)
class ReferenceAudio:
    """The audio of one track, each ``(C, N)`` of equal shape."""

    stems: dict[str, Audio]
    mixture: Audio


def find_tracks(reference: Path) -> tuple[list[ReferenceTrack], list[str]]:
    """Tracks in a folder of track folders, or the one track that the folder itself is.

    Hidden files and folders do not count.

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
        if track is None:
            notes.append(f"{folder.name}: no wav or flac files, not a track")
        else:
            tracks.append(track)
    if not tracks:
        raise MssctlError(f"{reference}: no reference tracks", hint=_LAYOUT)
    return tracks, notes


def check(track: ReferenceTrack, *, model: str, audio: AudioConfig) -> list[str]:
    """Compare a track's file headers with what a model needs, before anything is computed.

    Args:
        track: the track.
        model: name of the model, for messages.
        audio: stems, sample rate and channels that the model works with.

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
    if track.mixture is None:
        missing = [stem for stem in audio.stems if stem not in track.stems]
        if missing:
            raise MssctlError(
                f"{track.name}: no mixture file, and no {', '.join(missing)} to make it from",
                hint="add mixture.wav, or silent files for stems that the song does not have",
            )
        notes.append(f"{track.name}: no mixture file: the sum of {', '.join(track.stems)} is used")
    lengths = {}
    for path in track.needed(stems).values():
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


def read(track: ReferenceTrack, stems: Sequence[str]) -> ReferenceAudio:
    """Read the mixture and those of ``stems`` that the track has.

    Raises:
        MssctlError: a file cannot be read, or has samples that are NaN or infinite.
    """
    audio = {stem: files.read(path) for stem, path in track.needed(stems).items()}
    if MIXTURE in audio:
        mixture = audio[MIXTURE]
    else:
        mixture = np.stack(list(audio.values())).sum(axis=0, dtype=np.float64).astype(np.float32)
    return ReferenceAudio({stem: audio[stem] for stem in stems if stem in audio}, mixture)


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
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


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
