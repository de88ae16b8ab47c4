"""Where the estimates that ``mssctl eval`` scores come from: a model, a folder, or an oracle."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from mssctl.config.schema import AudioConfig
from mssctl.data.folders import real
from mssctl.data.names import USUAL_STEMS
from mssctl.errors import MssctlError
from mssctl.evaluation.metrics.sdr import Array
from mssctl.evaluation.oracle import ideal_ratio_masks
from mssctl.evaluation.references import ReferenceAudio, ReferenceTrack, find_tracks, noted, probe
from mssctl.evaluation.sums import sums
from mssctl.failures import failure
from mssctl.models.weights import LoadedModel
from mssctl.options.evaluate import Oracle
from mssctl.results.common import FileFailure
from mssctl.separation.stream import SeparationSettings, memory_errors, separate_array


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


class Estimates(Protocol):
    """Something that has an estimate of each stem of a track."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """What it is, for the provenance of scores."""
        ...

    @property
    def stems(self) -> tuple[str, ...]:
        """That it may have, in the order of the table."""
        ...

    def of(self, track: ReferenceTrack, audio: ReferenceAudio) -> Found:
        """The estimates of a track."""
        ...

    def mark(self, track: ReferenceTrack) -> dict[str, Any]:
        """What the estimates of a track depend on, beside ``identity``."""
        ...


@dataclass
class FromModel:
    """Estimates by a model, separated as `mssctl separate` does."""

    model: LoadedModel
    settings: SeparationSettings
    identity: dict[str, Any]

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def stems(self) -> tuple[str, ...]:
        """The stems that the model gives."""
        return tuple(self.model.separator.stems)

    def of(self, track: ReferenceTrack, audio: ReferenceAudio) -> Found:
        """Separate the mixture."""
        assert audio.mixture is not None, "a model needs a mixture"
        with memory_errors(track.name):
            mixture = torch.from_numpy(audio.mixture)
            estimates = separate_array(self.model.separator, mixture, self.settings)
        return Found(dict(zip(self.stems, estimates.numpy(), strict=True)))

    def mark(self, track: ReferenceTrack) -> dict[str, Any]:  # noqa: ARG002
        """Nothing more than the model."""
        return {}


@dataclass
class FromFolder:
    """Estimates in files: ``FOLDER/TRACK/STEM.wav``, or below ``train`` and ``test`` as museval's.

    Args:
        folder: that holds them.

    Raises:
        MssctlError: no such folder, no tracks in it.
    """

    folder: Path
    name: str = field(init=False)
    identity: dict[str, Any] = field(init=False)
    stems: tuple[str, ...] = field(init=False)
    notes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.name = real(self.folder).name
        self.identity = {"estimates": self.name}
        found, self.notes = find_tracks(self.folder, nested=True)
        self._tracks = {track.name: track for track in found}
        if len(self._tracks) < len(found):
            names_found = [track.name for track in found]
            twice = sorted({name for name in names_found if names_found.count(name) > 1})
            raise MssctlError(
                f"{self.folder}: estimates of {', '.join(twice)} are there twice",
                hint="name the folder of one split, such as its 'test'",
            )
        names = {stem for track in found for stem in track.stems}
        self.stems = in_usual_order(names)

    def unused(self, tracks: Sequence[ReferenceTrack]) -> list[str]:
        """Notes on estimates of tracks that have no reference."""
        extra = sorted(self._tracks.keys() - {track.name for track in tracks})
        return [f"{name}: estimates, but no reference track of that name" for name in extra]

    def of(self, track: ReferenceTrack, audio: ReferenceAudio) -> Found:
        """Read the stems that go with the references; nothing is resampled, padded or cut."""
        own = self._tracks.get(track.name)
        if own is None:
            return Found({}, [f"{track.name}: no estimates"])
        found = Found({})
        for stem in self.stems:
            reference = audio.stems.get(stem)
            path = own.stems.get(stem)
            if path is None:
                if reference is not None:
                    found.left_out.append(f"{track.name}: {stem}: no estimate")
                continue
            if reference is None:
                found.left_out.append(f"{track.name}: {stem}: no reference file")
                continue
            try:
                reason = _unlike(path, reference, audio.rate)
                if reason is None:
                    found.stems[stem] = noted(path, found.notes)
            except MssctlError as error:
                found.failures.append(failure(str(path), error))
                reason = found.failures[-1].error
            if reason:
                found.left_out.append(f"{track.name}: {stem}: {reason}")
        return found

    def mark(self, track: ReferenceTrack) -> dict[str, Any]:
        """Name, size and time of change of each file."""
        own = self._tracks.get(track.name)
        if own is None:
            return {"estimate_files": {}}
        return {"estimate_files": {stem: _state(path) for stem, path in sorted(own.stems.items())}}


@dataclass
class FromOracle:
    """Estimates that know the truth: a bound for masks, or the mixture as every estimate."""

    kind: Oracle
    stems: tuple[str, ...]

    @property
    def name(self) -> str:
        """For people."""
        return {"irm": "oracle: ideal ratio mask", "mixture": "oracle: the mixture"}[self.kind]

    @property
    def identity(self) -> dict[str, Any]:
        """For the provenance."""
        return {"oracle": self.kind}

    def of(self, track: ReferenceTrack, audio: ReferenceAudio) -> Found:
        """From the references and the mixture."""
        if audio.mixture is None:
            raise MssctlError(f"{track.name}: no mixture, which an oracle needs")
        if self.kind == "mixture":
            return Found(dict.fromkeys(audio.stems, audio.mixture))
        apart = sums(audio.stems)  # masks share the mixture among sources
        sources = {stem: sound for stem, sound in audio.stems.items() if stem not in apart}
        found = dict(ideal_ratio_masks(sources, audio.mixture))
        for stem, parts in apart.items():
            found[stem] = np.sum([found[part] for part in parts if part in found], axis=0)
        return Found(found)

    def mark(self, track: ReferenceTrack) -> dict[str, Any]:  # noqa: ARG002
        """Nothing more than its kind."""
        return {}


def in_usual_order(stems: Collection[str]) -> tuple[str, ...]:
    """The usual four first, then the others by name."""
    return (
        *(stem for stem in USUAL_STEMS if stem in stems),
        *sorted(set(stems).difference(USUAL_STEMS)),
    )


def form_of(tracks: Sequence[ReferenceTrack], stems: Sequence[str]) -> AudioConfig:
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


def _state(path: Path) -> list[Any]:
    """Name, size and time of change of a file; only the name of one that cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return [path.name]
    return [path.name, status.st_size, status.st_mtime_ns]


def _unlike(path: Path, reference: Array, rate: int) -> str | None:
    """Why an estimate cannot be compared with its reference."""
    info = probe(path)
    if info.sample_rate != rate:
        return f"the estimate has {info.sample_rate} Hz, the reference {rate} Hz"
    if (info.channels, info.frames) == reference.shape:
        return None
    if info.channels != reference.shape[0]:
        return f"the estimate has {info.channels} channels, the reference {reference.shape[0]}"
    return f"the estimate has {info.frames} samples, the reference {reference.shape[1]}"
