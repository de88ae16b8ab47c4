"""Reference tracks: checked by their headers, read, and searched for sums of other stems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mssctl.audio import files
from mssctl.audio.files import AudioInfo
from mssctl.config.schema import AudioConfig
from mssctl.data.folders import refuse_broken_link
from mssctl.data.names import MIXTURE
from mssctl.data.songs import SongFiles
from mssctl.errors import MssctlError

Audio = NDArray[np.float32]  # (C, N)

_ALLOWED = 10.0 ** (-50.0 / 10.0)  # power relative to the sum; rounding to 16 bit stays below this
_BLOCK = 1 << 16  # frames added at once
_MOST = 12  # stems; with more, there are too many sums to try


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


def needed(track: SongFiles, stems: Sequence[str], *, add_up: bool = True) -> Mapping[str, Path]:
    """Files to read for scoring ``stems``: theirs, and those that make up the mixture."""
    wanted = {stem: track.stems[stem] for stem in stems if stem in track.stems}
    if track.mixture is not None:
        return {MIXTURE: track.mixture, **wanted}
    return track.stems if add_up else wanted


def samples(track: SongFiles, stems: Sequence[str]) -> int:
    """Samples of ``stems``, all channels, by the headers; of a packed one, of four minutes."""
    if track.packed is not None:
        return 4 * 2 * 240 * 44_100
    infos = [probe(track.stems[stem]) for stem in stems if stem in track.stems]
    return sum(info.frames * info.channels for info in infos)


def check(track: SongFiles, *, model: str, audio: AudioConfig, add_up: bool = True) -> list[str]:
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
    for path in needed(track, stems, add_up=add_up).values():
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


def read(track: SongFiles, stems: Sequence[str], *, add_up: bool = True) -> ReferenceAudio:
    """Read the mixture and those of ``stems`` that the track has.

    Without a mixture it is the sum of the stems, but of those that are sums of others; or with
    ``add_up`` off, there is none.

    Raises:
        MssctlError: a file cannot be read, or has samples that are NaN or infinite.
    """
    paths = needed(track, stems, add_up=add_up)
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


def sums(stems: Mapping[str, Audio]) -> dict[str, tuple[str, ...]]:
    """Each stem that is the sum of two or more others, and these.

    Silent stems are not part of a sum. With more than 12 stems there is no search.

    Args:
        stems: name -> audio ``(C, N)``; where their shapes differ there are no sums.
    """
    names = [name for name, audio in stems.items() if np.any(audio)]
    if not 3 <= len(names) <= _MOST or len({np.shape(audio) for audio in stems.values()}) > 1:
        return {}
    audio = [np.asarray(stems[name]) for name in names]
    energy = [_energy(sound) for sound in audio]
    left = {
        (whole, parts): 0.0
        for whole in range(len(names))
        for size in range(2, len(names))
        for parts in combinations([number for number in range(len(names)) if number != whole], size)
    }  # a stem and its parts -> energy of the difference so far
    for start in range(0, audio[0].shape[-1], _BLOCK):
        block = np.stack([sound[..., start : start + _BLOCK].ravel() for sound in audio])
        block = block.astype(np.float64)
        products = block @ block.T  # inner products of all with all
        added = {key: error + _difference(products, *key) for key, error in left.items()}
        left = {key: total for key, total in added.items() if total <= _ALLOWED * energy[key[0]]}
        if not left:
            break
    # A stem may be several sums, of sums and of their parts: the one with the most parts is enough.
    found = {names[whole]: parts for whole, parts in left}
    return {name: tuple(names[part] for part in parts) for name, parts in found.items()}


def _energy(audio: Audio) -> float:
    flat = audio.ravel()
    return float(np.einsum("i,i->", flat, flat, dtype=np.float64))


def _difference(products: np.ndarray, whole: int, parts: Sequence[int]) -> float:
    """Energy of a stem less the sum of others."""
    signs = np.zeros(len(products))
    signs[whole] = 1.0
    signs[list(parts)] = -1.0
    return float(signs @ products @ signs)
