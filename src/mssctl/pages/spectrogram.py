"""Spectrograms as PNG images: time to the right, frequency upwards on a logarithmic scale."""

import io
import math

import numpy as np
import scipy.signal
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.floating]

_N_FFT = 4096
LOWEST = 30.0  # Hz
RANGE_DB = 80.0


def spectrogram(
    audio: Array, rate: int, loudest: float, width: int = 320, height: int = 128
) -> bytes:
    """A PNG image of ``audio (C, N)``, mean over the channels.

    Args:
        audio: the sound.
        rate: samples per second.
        loudest: the magnitude that is brightest, as of `peak`; 80 dB below is dark.
        width: pixels.
        height: pixels.
    """
    rows = bands(_magnitudes(audio), rate, height)
    columns = np.linspace(0, rows.shape[1] - 1, width).round().astype(int)
    level = 20.0 * np.log10(np.maximum(rows[::-1, columns], 1e-12) / max(loudest, 1e-12))
    shades = (255.0 * np.clip(1.0 + level / RANGE_DB, 0.0, 1.0)).round().astype(np.uint8)
    image = Image.fromarray(shades, "P")
    image.putpalette(colormaps["inferno"](range(256), bytes=True)[:, :3].tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def bands(S: NDArray[np.float64], rate: int, height: int) -> NDArray[np.float64]:
    """Rows of a spectrogram ``(bins, frames)``, lowest first: the loudest bin of each.

    Args:
        S: magnitudes from 0 Hz to half of ``rate``.
        rate: samples per second.
        height: rows, from `LOWEST` up.
    """
    top = rate / 2.0
    edges = np.geomspace(LOWEST, top, height + 1) / top * (len(S) - 1)
    return np.stack([_between(S, edges[i], edges[i + 1]) for i in range(height)])


def peak(audio: Array) -> float:
    """The largest magnitude in the spectrogram of ``audio (C, N)``."""
    return float(_magnitudes(audio).max())


def place(frequency: float, rate: int) -> float:
    """Where a frequency in Hz lies in the image: 0 at the bottom, 1 at the top."""
    return math.log(frequency / LOWEST) / math.log(rate / 2.0 / LOWEST)


def _magnitudes(audio: Array) -> NDArray[np.float64]:
    mono = np.asarray(audio, np.float64).mean(axis=0)
    if len(mono) < _N_FFT:
        mono = np.pad(mono, (0, _N_FFT - len(mono)))
    frames = np.lib.stride_tricks.sliding_window_view(mono, _N_FFT)[:: _N_FFT // 4]
    window = scipy.signal.get_window("hann", _N_FFT)
    magnitudes: NDArray[np.float64] = np.abs(np.fft.rfft(frames * window, axis=1)).T
    return magnitudes


def _between(S: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """The loudest of the bins of a row; between two bins where a row is narrower than one."""
    if int(high) > int(low):
        return np.asarray(S[int(np.ceil(low)) : int(high) + 1].max(axis=0))
    below, share = int(low), low - int(low)
    return np.asarray((1.0 - share) * S[below] + share * S[min(below + 1, len(S) - 1)])
