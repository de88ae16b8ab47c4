"""The sounds of a page: files of any rate, length and channels as tracks of one shape."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from mssctl.audio import files
from mssctl.audio.files import AudioInfo
from mssctl.audio.resample import resample_stream, resampled_length
from mssctl.errors import MssctlError
from mssctl.pages.listening import mp3

MIXTURE = "mixture"


@dataclass(frozen=True)
class Take:
    """One separation of a song.

    Attributes:
        name: of the model, or what tells it from the others.
        stems: name -> file.
        license: of the model; empty if it is not stated.
        speed: seconds of audio per second of computing; 0 if it is not known.
    """

    name: str
    stems: Mapping[str, Path]
    license: str = ""
    speed: float = 0.0


@dataclass(frozen=True)
class Track:
    """One sound of the page: a stem of the take of that number, or the mixture if it is None."""

    stem: str
    take: int | None
    info: AudioInfo


@dataclass(frozen=True)
class TrackSet:
    """Tracks that play together.

    Attributes:
        tracks: the mixture first, if there is one.
        rate: of the page, samples per second.
        channels: of the page, one or two.
        frames: samples of the longest track, at the page's rate.
    """

    tracks: tuple[Track, ...]
    rate: int
    channels: int
    frames: int

    @classmethod
    def of(cls, takes: Sequence[Take], mixture: Path | None) -> Self:
        """The tracks of a page, as their headers state them.

        Raises:
            MssctlError: there are no stems, or one of the files is no audio (exit 4).
        """
        if not any(take.stems for take in takes):
            raise MssctlError("no stems to listen to")
        tracks = [] if mixture is None else [Track(MIXTURE, None, files.probe(mixture))]
        for number, take in enumerate(takes):
            tracks += [Track(stem, number, files.probe(path)) for stem, path in take.stems.items()]
        rate = mp3.page_rate(max(track.info.sample_rate for track in tracks))
        channels = min(2, max(track.info.channels for track in tracks))
        return cls(tuple(tracks), rate, channels, max(_length(track, rate) for track in tracks))

    @property
    def seconds(self) -> float:
        """Length."""
        return self.frames / self.rate

    @property
    def stems(self) -> list[str]:
        """Their names, in order."""
        return list(dict.fromkeys(one.stem for one in self.tracks if one.take is not None))

    @property
    def notes(self) -> list[str]:
        """What is done to the files."""
        infos = [track.info for track in self.tracks]
        found = {
            f"resampled to {self.rate} Hz": any(one.sample_rate != self.rate for one in infos),
            "more than two channels are played as their mean": any(
                one.channels > 2 for one in infos
            ),
            "tracks differ in length: the shorter ones end in silence": any(
                _length(track, self.rate) != self.frames for track in self.tracks
            ),
        }
        return [note for note, true in found.items() if true]

    def blocks(self, track: Track, length: int) -> Iterator[NDArray[np.float32]]:
        """A track as blocks ``(C, length)``, the last one shorter; `frames` samples in all.

        Raises:
            MssctlError: see `mssctl.audio.files.blocks`.
        """
        source = map(torch.from_numpy, files.blocks(track.info.path, length))
        held, done = np.zeros((self.channels, 0), np.float32), 0
        for block in resample_stream(source, track.info.sample_rate, self.rate):
            sound = block.numpy()
            if len(sound) != self.channels:
                mean = sound.mean(axis=0, keepdims=True)
                sound = np.broadcast_to(mean, (self.channels, mean.shape[1]))
            held = np.concatenate([held, sound], axis=1)
            while held.shape[1] >= length:
                yield held[:, :length]
                done, held = done + length, held[:, length:]
        while done < self.frames:
            size = min(length, self.frames - done)
            yield np.pad(held, ((0, 0), (0, size - held.shape[1])))
            done, held = done + size, held[:, :0]


def _length(track: Track, rate: int) -> int:
    return resampled_length(track.info.frames, track.info.sample_rate, rate)
