"""What a track looks like: its waveform and its spectrogram, from one pass over the samples."""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.signal
from numpy.typing import NDArray
from PIL import Image

POINT = 432  # samples per point of the waveform
COLUMN = 2_304  # samples per column of the spectrogram
TILE = 1_152  # columns per image: about a minute
HEIGHT = 128  # rows
LOWEST = 30.0  # Hz, at the bottom of the image
RANGE_DB = 80.0
_N_FFT = 4_096
_STEP = 0.5  # dB per level
_LOWEST = -120.0  # dB, of full scale


_TICKS = {100.0: "100 Hz", 1_000.0: "1 kHz", 10_000.0: "10 kHz"}


@dataclass(frozen=True)
class Look:
    """A track to be drawn.

    Attributes:
        frames: samples per channel.
        wave: ``(n, 2)``, peak and RMS of `POINT` samples each.
        levels: ``(columns, HEIGHT)``, half decibels above -120 dB of full scale, low to high.
    """

    frames: int
    wave: NDArray[np.float32]
    levels: NDArray[np.uint8]


def look(blocks: Iterable[NDArray[np.float32]], rate: int) -> Look:
    """Look at all of a track.

    Args:
        blocks: ``(C, n)``; all but the last hold whole points and columns.
        rate: samples per second.
    """
    frames, before = 0, (_N_FFT - COLUMN) // 2  # a column shows the samples around its middle
    held = np.zeros(before, np.float32)
    waves, levels = [np.zeros((0, 2), np.float32)], [np.zeros((0, HEIGHT), np.uint8)]
    for block in blocks:
        frames += block.shape[1]
        waves.append(_wave(block))
        held = np.concatenate([held, block.mean(axis=0)])
        done = max(0, (len(held) - _N_FFT) // COLUMN + 1)
        levels.append(_levels(held, done, rate))
        held = held[done * COLUMN :]
    missing = -(-frames // COLUMN) - sum(map(len, levels))
    levels.append(_levels(np.pad(held, (0, _N_FFT)), missing, rate))
    return Look(frames, np.concatenate(waves), np.concatenate(levels))


def wave_bytes(looks: Sequence[Look]) -> Iterator[bytes]:
    """Peak and RMS of each track, one byte each; 255 is the loudest of all tracks."""
    loudest = max(float(one.wave.max(initial=0.0)) for one in looks) or 1.0
    for one in looks:
        yield (255.0 / loudest * one.wave).round().astype(np.uint8).tobytes()


def tiles(looks: Sequence[Look]) -> Iterator[list[bytes]]:
    """The images of each minute, one per track: shades of gray on one scale, 80 dB deep."""
    loudest = max(int(one.levels.max(initial=0)) for one in looks)
    columns = max(len(one.levels) for one in looks)
    for start in range(0, columns, TILE):
        yield [_image(one.levels[start : start + TILE], loudest) for one in looks]


def ticks(rate: int) -> list[tuple[float, str]]:
    """Frequencies to name beside an image: 0 at the bottom to 1 at the top, and the words."""
    return [(place(f, rate), words) for f, words in _TICKS.items() if LOWEST < f < 0.4 * rate]


def place(frequency: float, rate: int) -> float:
    """Where a frequency in Hz lies: 0 at the bottom, 1 at the top."""
    return math.log(frequency / LOWEST) / math.log(rate / 2.0 / LOWEST)


def _wave(block: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(block, ((0, 0), (0, -block.shape[1] % POINT)))
    points = padded.reshape(len(block), -1, POINT)
    rms = np.sqrt(np.square(points).mean(axis=(0, 2)))
    return np.stack([np.abs(points).max(axis=(0, 2)), rms], axis=1)


def _levels(mono: NDArray[np.float32], count: int, rate: int) -> NDArray[np.uint8]:
    """The first ``count`` columns."""
    if count <= 0:
        return np.zeros((0, HEIGHT), np.uint8)
    frames = np.lib.stride_tricks.sliding_window_view(mono, _N_FFT)[::COLUMN][:count]
    window = scipy.signal.get_window("hann", _N_FFT)
    S = np.abs(np.fft.rfft(frames * window, axis=1)).T * (2.0 / window.sum())
    level = 20.0 * np.log10(np.maximum(_bands(S, rate).T, 1e-9))
    return ((level - _LOWEST) / _STEP).clip(0, 255).round().astype(np.uint8)


def _bands(S: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """The loudest bin of each row of a spectrogram ``(bins, frames)``, the lowest row first."""
    top = rate / 2.0
    edges = np.geomspace(LOWEST, top, HEIGHT + 1) / top * (len(S) - 1)
    return np.stack([_between(S, edges[i], edges[i + 1]) for i in range(HEIGHT)])


def _between(S: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """The loudest of the bins of a row; between two bins where a row is narrower than one."""
    if int(high) > int(low):
        return np.asarray(S[int(np.ceil(low)) : int(high) + 1].max(axis=0))
    below, share = int(low), low - int(low)
    return np.asarray((1.0 - share) * S[below] + share * S[min(below + 1, len(S) - 1)])


def _image(levels: NDArray[np.uint8], loudest: int) -> bytes:
    """A WebP image ``(HEIGHT, columns)``."""
    below = (levels.T[::-1].astype(np.float64) - loudest) * _STEP
    shades = (255.0 * np.clip(1.0 + below / RANGE_DB, 0.0, 1.0)).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(shades)).save(file, "WEBP", quality=50, method=4)
    return file.getvalue()
