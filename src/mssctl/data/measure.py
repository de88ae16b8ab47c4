"""Listen to a whole song: levels, clipping and identity of its stems, and mixture against sum."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from mssctl.audio.files import blocks, probe
from mssctl.data.folders import refuse_broken_link
from mssctl.data.names import MIXTURE
from mssctl.data.segments import Audio
from mssctl.data.songs import SongFiles
from mssctl.errors import MssctlError

_BLOCK = 1 << 18  # frames read at once
_FULL_SCALE = 1.0 - 2.0**-15
_RUN = 3  # samples in a row at full scale make a clipped place
_FLOOR_DB = -200.0  # what stands for "no difference at all"


@dataclass(frozen=True)
class FileFacts:
    """What one file holds, or why it cannot be read.

    Attributes:
        path: the file.
        frames: its length, read to the end.
        sample_rate: Hz.
        channels: per frame.
        peak: largest magnitude; 1 is full scale.
        clipped: places with three or more samples in a row at full scale.
        digest: of its samples at 16 bit.
        notes: what is odd about the file.
        error: why it cannot be read, and ``hint`` what to do; nothing else is known then.
    """

    path: str
    frames: int = 0
    sample_rate: int = 0
    channels: int = 0
    peak: float = 0.0
    clipped: int = 0
    digest: str = ""
    notes: tuple[str, ...] = ()
    error: str | None = None
    hint: str | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """From the plain values of `dataclasses.asdict`."""
        return cls(**{**value, "notes": tuple(value["notes"])})


@dataclass(frozen=True)
class SongFacts:
    """What the files of one song hold.

    Attributes:
        stems: stem -> its file.
        mixture: the mixture's file, if there is one.
        residual_db: level of mixture minus sum of stems, relative to the mixture; None unless all
            of them could be read.
    """

    stems: dict[str, FileFacts]
    mixture: FileFacts | None = None
    residual_db: float | None = None

    @property
    def broken(self) -> bool:
        """Whether one of its files cannot be read."""
        files = [*self.stems.values(), *([self.mixture] if self.mixture else [])]
        return any(facts.error for facts in files)

    def to_json(self) -> dict[str, Any]:
        """As plain values, for the cache."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            {stem: FileFacts.from_json(facts) for stem, facts in value["stems"].items()},
            FileFacts.from_json(value["mixture"]) if value["mixture"] else None,
            value["residual_db"],
        )


def measure(entry: SongFiles, stems: tuple[str, ...]) -> SongFacts:
    """Read all of a song once, block by block.

    Raises:
        MssctlError: a ``.stem.mp4`` cannot be decoded.
    """
    unpacked = entry.unpacked()
    files, mixture = unpacked.stems, unpacked.mixture
    paths = {stem: files[stem] for stem in stems if stem in files}
    if mixture:
        paths[MIXTURE] = mixture
    meters = {name: _Meter(path) for name, path in paths.items()}
    streams = {name: meter.blocks() for name, meter in meters.items()}
    energy = difference = 0.0
    comparable = mixture is not None
    while heads := _next(streams):
        comparable = comparable and _go_together(meters.values())
        if comparable:
            total, error = _compare(heads)
            energy, difference = energy + total, difference + error
    facts = {name: meter.facts() for name, meter in meters.items()}
    whole = facts.pop(MIXTURE, None)
    readable = (
        comparable
        and whole is not None
        and not any(fact.error for fact in (whole, *facts.values()))
    )
    residual = _decibels(difference, energy) if readable else None
    return SongFacts(facts, whole, residual)


class _Meter:
    """Passes the blocks of a file on and measures them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames = self.sample_rate = self.channels = self.clipped = 0
        self.peak = 0.0
        self.hash = hashlib.blake2b(digest_size=16)
        self.notes: list[str] = []
        self.error: MssctlError | None = None

    def blocks(self) -> Iterator[Audio]:
        """The file's blocks ``(C, n)``; they end where it cannot be read further."""
        try:
            refuse_broken_link(self.path)
            info = probe(self.path)
            self.sample_rate, self.channels = info.sample_rate, info.channels
            self.notes += info.notes
            for block in blocks(self.path, _BLOCK, self.notes.append):
                self._add(block)
                yield block
        except MssctlError as error:
            self.error = error

    def _add(self, block: Audio) -> None:
        self.frames += block.shape[1]
        magnitude = np.abs(block)
        self.peak = max(self.peak, float(magnitude.max()))
        if self.peak >= _FULL_SCALE:
            self.clipped += sum(map(_places, magnitude >= _FULL_SCALE))
        rounded = np.clip(np.round(block * 32_767.0), -32_768, 32_767).astype("<i2")
        self.hash.update(rounded.T.tobytes())

    def facts(self) -> FileFacts:
        """What was measured."""
        if self.error:
            return FileFacts(str(self.path), error=self.error.message, hint=self.error.hint)
        return FileFacts(
            path=str(self.path),
            frames=self.frames,
            sample_rate=self.sample_rate,
            channels=self.channels,
            peak=self.peak,
            clipped=self.clipped,
            digest=self.hash.hexdigest(),
            notes=tuple(self.notes),
        )


def _places(full: np.ndarray) -> int:
    """Runs of `_RUN` or more in one channel."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], full.astype(np.int8), [0]])))
    return int(np.count_nonzero(edges[1::2] - edges[::2] >= _RUN))


def _next(streams: Mapping[str, Iterator[Audio]]) -> dict[str, Audio]:
    """The next block of each stream that has one."""
    heads = {name: next(stream, None) for name, stream in streams.items()}
    return {name: block for name, block in heads.items() if block is not None}


def _go_together(meters: Iterable[_Meter]) -> bool:
    """Whether files have one sample rate, and channels that can be added."""
    opened = [meter for meter in meters if meter.sample_rate]
    channels = {meter.channels for meter in opened} - {1}
    return len({meter.sample_rate for meter in opened}) == 1 and len(channels) <= 1


def _compare(heads: Mapping[str, Audio]) -> tuple[float, float]:
    """Energy of the mixture's block, and of its difference to the sum of the others."""
    frames = max(block.shape[1] for block in heads.values())
    channels = max(block.shape[0] for block in heads.values())
    rest = np.zeros((channels, frames))
    energy = 0.0
    for name, block in heads.items():
        if name == MIXTURE:
            energy = float(np.square(block, dtype=np.float64).sum()) * channels / block.shape[0]
            rest[:, : block.shape[1]] += block
        else:
            rest[:, : block.shape[1]] -= block
    return energy, float(np.square(rest).sum())


def _decibels(power: float, reference: float) -> float:
    if power <= 0.0:
        return _FLOOR_DB
    if reference <= 0.0:
        return -_FLOOR_DB  # a silent mixture of stems that sound
    return max(_FLOOR_DB, 10.0 * math.log10(power / reference))
