"""Read a piece of a stem by seeking, and draw where to read: quiet places less often."""

import math

import numpy as np
from numpy.typing import NDArray

from mssctl.audio.files import read
from mssctl.data.songs import Song, StemFile
from mssctl.errors import MssctlError

Audio = NDArray[np.float32]


def read_into(out: Audio, stem: StemFile | None, start: int) -> None:
    """Fill ``out (C, N)`` with a stem from frame ``start`` on.

    No stem, and what lies after its end, is silence. A mono file fills every channel; a model
    with one channel gets the mean of the file's.

    Raises:
        MssctlError: the file cannot be read, is damaged, or is shorter than it was.
    """
    wanted = 0 if stem is None else max(0, min(out.shape[1], stem.frames - start))
    out[:, wanted:] = 0.0
    if stem is None or wanted == 0:
        return
    audio = read(stem.path, start, wanted)
    if audio.shape[1] != wanted:
        raise MssctlError(
            f"{stem.path}: {audio.shape[1]} frames at {start}, expected {wanted}",
            hint="the file changed or is damaged",
        )
    if out.shape[0] == 1 and audio.shape[0] > 1:
        audio = audio.mean(axis=0, keepdims=True)
    out[:, :wanted] = audio


def read_song(song: Song, stems: tuple[str, ...], channels: int) -> Audio:
    """A whole song: ``(S, C, N)``."""
    audio = np.empty((len(stems), channels, song.frames), np.float32)
    for row, name in zip(audio, stems, strict=True):
        read_into(row, song.stems.get(name), 0)
    return audio


def draw_start(rng: np.random.Generator, frames: int, length: int) -> int:
    """A start such that ``length`` frames fit; 0 where the audio is shorter than that."""
    return int(rng.integers(0, max(frames - length, 0) + 1))


def level_db(audio: Audio) -> float:
    """RMS level in dB relative to full scale; ``-inf`` for silence."""
    power = float(np.vdot(audio, audio)) / max(audio.size, 1)
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf
