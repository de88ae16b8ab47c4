"""Where the estimates that ``mssctl eval`` scores come from: a model, a folder, or an oracle."""

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray

from mssctl.config.schema import AudioConfig
from mssctl.data.folders import real
from mssctl.data.names import USUAL_STEMS
from mssctl.data.songs import SongFiles
from mssctl.data.tracks import find_tracks
from mssctl.errors import MssctlError
from mssctl.evaluation.documents import file_state
from mssctl.evaluation.metrics.sdr import Array
from mssctl.evaluation.references import ReferenceAudio, noted, probe, sums
from mssctl.failures import failure
from mssctl.models.weights import LoadedModel
from mssctl.options.evaluate import Oracle
from mssctl.results.common import FileFailure
from mssctl.separation.stream import SeparationSettings, memory_errors, separate_array

_N_FFT, _HOP = 4096, 1024  # of the ideal ratio mask


@dataclass(frozen=True)
class Found:
    """The estimates of one track.

    Attributes:
        stems: stem -> estimate ``(C, N)``.
        left_out: the stems that cannot be scored, each with a reason.
        failures: the files among them that cannot be read.
        notes: what is odd about the files that can be read.
    """

    stems: dict[str, Array]
    left_out: list[str] = field(default_factory=list)
    failures: list[FileFailure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Estimates(ABC):
    """Something that has an estimate of each stem of a track.

    Attributes:
        name: for people.
        identity: what it is, for the provenance.
        stems: that it may have, in the order of the table.
        separates: whether it is a model, which needs a mixture.
    """

    separates = False

    def __init__(self, name: str, identity: Mapping[str, Any], stems: Sequence[str]) -> None:
        self.name, self.identity, self.stems = name, dict(identity), tuple(stems)

    @abstractmethod
    def of(self, track: SongFiles, audio: ReferenceAudio) -> Found:
        """The estimates of a track."""

    def mark(self, track: SongFiles) -> dict[str, Any]:  # noqa: ARG002
        """What the estimates of a track depend on, beside ``identity``."""
        return {}


class FromModel(Estimates):
    """Estimates by a model, separated as `mssctl separate` does."""

    separates = True

    def __init__(
        self, model: LoadedModel, settings: SeparationSettings, identity: Mapping[str, Any]
    ) -> None:
        super().__init__(model.name, identity, model.separator.stems)
        self.model, self._settings = model, settings

    def of(self, track: SongFiles, audio: ReferenceAudio) -> Found:
        """Separate the mixture."""
        assert audio.mixture is not None, "a model needs a mixture"
        with memory_errors(track.name):
            mixture = torch.from_numpy(audio.mixture)
            estimates = separate_array(self.model.separator, mixture, self._settings).numpy()
        return Found(dict(zip(self.stems, estimates, strict=True)))


class FromFolder(Estimates):
    """Estimates in files: ``FOLDER/TRACK/STEM.wav``, or below ``train`` and ``test`` as museval's.

    Args:
        folder: that holds them.

    Raises:
        MssctlError: no such folder, no tracks in it.
    """

    def __init__(self, folder: Path) -> None:
        found, self.notes = find_tracks(folder, nested=True)
        self._tracks = {track.name: track for track in found}
        counts = Counter(track.name for track in found)
        if twice := sorted(name for name, count in counts.items() if count > 1):
            raise MssctlError(
                f"{folder}: estimates of {', '.join(twice)} are there twice",
                hint="name the folder of one split, such as its 'test'",
            )
        name = real(folder).name
        stems = in_usual_order({stem for track in found for stem in track.stems})
        super().__init__(name, {"estimates": name}, stems)

    def unused(self, tracks: Sequence[SongFiles]) -> list[str]:
        """Notes on estimates of tracks that have no reference."""
        extra = sorted(self._tracks.keys() - {track.name for track in tracks})
        return [f"{name}: estimates, but no reference track of that name" for name in extra]

    def of(self, track: SongFiles, audio: ReferenceAudio) -> Found:
        """Read the stems that go with the references; nothing is resampled, padded or cut."""
        own = self._tracks.get(track.name)
        if own is None:
            return Found({}, [f"{track.name}: no estimates"])
        found = Found({})
        for stem in (stem for stem in self.stems if stem in own.stems or stem in audio.stems):
            try:
                reason = _unlike(own.stems.get(stem), audio.stems.get(stem), audio.rate)
                if reason is None:
                    found.stems[stem] = noted(own.stems[stem], found.notes)
            except MssctlError as error:
                found.failures.append(failure(str(own.stems[stem]), error))
                reason = found.failures[-1].error
            if reason:
                found.left_out.append(f"{track.name}: {stem}: {reason}")
        return found

    def mark(self, track: SongFiles) -> dict[str, Any]:
        """Name, size and time of change of each file."""
        own = self._tracks.get(track.name)
        paths = {} if own is None else own.stems
        return {"estimate_files": {stem: file_state(path) for stem, path in sorted(paths.items())}}


class FromOracle(Estimates):
    """Estimates that know the truth: a bound for masks, or the mixture as every estimate."""

    def __init__(self, kind: Oracle, stems: Sequence[str]) -> None:
        words = {"irm": "ideal ratio mask", "mixture": "the mixture"}
        super().__init__(f"oracle: {words[kind]}", {"oracle": kind}, stems)
        self._kind = kind

    def of(self, track: SongFiles, audio: ReferenceAudio) -> Found:
        """From the references and the mixture."""
        if audio.mixture is None:
            raise MssctlError(f"{track.name}: no mixture, which an oracle needs")
        if self._kind == "mixture":
            return Found(dict.fromkeys(audio.stems, audio.mixture))
        apart = sums(audio.stems)  # masks share the mixture among sources
        sources = {stem: sound for stem, sound in audio.stems.items() if stem not in apart}
        found = dict(ideal_ratio_masks(sources, audio.mixture))
        for stem, parts in apart.items():
            found[stem] = np.sum([found[part] for part in parts if part in found], axis=0)
        return Found(found)


def ideal_ratio_masks(
    references: Mapping[str, Array], mixture: Array
) -> dict[str, NDArray[np.float32]]:
    """Each stem's share of the magnitudes, ``|S_j| / sum_k |S_k|``, applied to the mixture.

    Per channel and bin of a transform of 4096 samples, Hann, hop 1024. Source: the IRM1 oracle of
    Liutkus and Stöter's "2018 signal separation evaluation campaign" (arXiv:1804.06267).

    Args:
        references: stem -> true audio ``(C, N)``: all that make up the mixture.
        mixture: ``(C, N)``.

    Returns:
        stem -> ``(C, N)``; their sum is the mixture wherever any stem sounds.
    """
    length = mixture.shape[-1]
    hann = scipy.signal.get_window("hann", _N_FFT)
    transform = scipy.signal.ShortTimeFFT(hann, _HOP, fs=1.0)
    out = {stem: np.empty(mixture.shape, np.float32) for stem in references}
    for channel, mixed in enumerate(np.asarray(mixture, np.float64)):
        padded = np.pad(mixed, _N_FFT)  # so that every sample is under whole windows
        X = transform.stft(padded)
        shares = {
            stem: np.abs(transform.stft(np.pad(np.asarray(audio[channel], np.float64), _N_FFT)))
            for stem, audio in references.items()
        }
        total = np.maximum(np.sum(list(shares.values()), axis=0), 1e-12)
        for stem, share in shares.items():
            sound = transform.istft(X * share / total, k1=len(padded))
            out[stem][channel] = sound[_N_FFT : _N_FFT + length]
    return out


def in_usual_order(stems: Collection[str]) -> tuple[str, ...]:
    """The usual four first, then the others by name."""
    return (
        *(stem for stem in USUAL_STEMS if stem in stems),
        *sorted(set(stems).difference(USUAL_STEMS)),
    )


def form_of(tracks: Sequence[SongFiles], stems: Sequence[str]) -> AudioConfig:
    """The rate, channels and stems of references that no model asks anything of.

    Those of the first file that can be read.

    Raises:
        MssctlError: no reference for any of ``stems``, or a name that no stem can have.
    """
    unreadable: MssctlError | None = None
    for path in (track.stems[stem] for track in tracks for stem in stems if stem in track.stems):
        try:
            info = probe(path)
            return AudioConfig(
                sample_rate=info.sample_rate, channels=info.channels, stems=tuple(stems)
            )
        except MssctlError as error:
            unreadable = unreadable or error
        except ValueError as error:
            raise MssctlError(f"{path}: cannot be scored: {error}") from None
    if unreadable:
        raise unreadable
    raise MssctlError(
        "no reference for any of the estimated stems",
        hint=f"estimated: {', '.join(stems) or 'none'}; stems are matched by file name",
    )


def content_hashes(stems: Mapping[str, Array]) -> dict[str, str]:
    """Stem -> SHA-256 of its samples, for the provenance: the same audio, wherever it lies."""
    return {
        stem: hashlib.sha256(np.ascontiguousarray(audio, dtype=np.float32).tobytes()).hexdigest()
        for stem, audio in stems.items()
    }


def _unlike(path: Path | None, reference: Array | None, rate: int) -> str | None:
    """Why an estimate cannot be compared with its reference."""
    if path is None:
        return "no estimate"
    if reference is None:
        return "no reference file"
    info = probe(path)
    if info.sample_rate != rate:
        return f"the estimate has {info.sample_rate} Hz, the reference {rate} Hz"
    if (info.channels, info.frames) == reference.shape:
        return None
    if info.channels != reference.shape[0]:
        return f"the estimate has {info.channels} channels, the reference {reference.shape[0]}"
    return f"the estimate has {info.frames} samples, the reference {reference.shape[1]}"
