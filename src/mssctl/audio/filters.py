"""Filters on ``(C, N)`` float32 audio by FFT: bands in series, and convolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]

_EQ_TAPS = 8192


@dataclass(frozen=True)
class Band:
    """A band of an equalizer: ``kind`` is peak, low (shelf), high (shelf), lowpass or highpass."""

    kind: str
    hz: float
    gain_db: float = 0.0
    q: float = 0.707


def equalizer(bands: Sequence[Band], sample_rate: int) -> Audio:
    """The causal impulse response ``(taps,)`` of all bands in series."""
    taps = np.fft.irfft(_response(bands, sample_rate, _EQ_TAPS))
    taps[_EQ_TAPS // 2 :] *= np.linspace(1, 0, _EQ_TAPS // 2)
    return taps.astype(np.float32)


def equalize(audio: Audio, bands: Sequence[Band], sample_rate: int) -> Audio:
    """Filter ``audio (C, N)`` with all bands in series, over `_EQ_TAPS` frames of silence."""
    length = fft_length(audio.shape[1] + _EQ_TAPS)
    return filtered(audio, _response(bands, sample_rate, length), length)


def filtered(audio: Audio, response: NDArray[np.complexfloating], length: int) -> Audio:
    """Multiply the spectrum of ``audio (C, N)``, padded to ``length``, with a response."""
    spectrum = np.fft.rfft(audio, length)
    spectrum *= response.astype(np.complex64)
    return np.ascontiguousarray(np.fft.irfft(spectrum, length)[:, : audio.shape[1]], np.float32)


def fft_length(frames: int) -> int:
    """A length of at least ``frames`` that the FFT is quick at: 8 to 16 times a power of two."""
    step = 1 << max(frames.bit_length() - 4, 1)
    return -(-frames // step) * step


def convolve(audio: Audio, kernel: Audio) -> Audio:
    """Filter ``audio (C, N)`` with ``kernel (1 or C, K)``; the result keeps the length ``N``.

    Overlap-add in blocks: the FFT size follows the kernel, so short kernels stay cheap.
    """
    length, taps = audio.shape[1], kernel.shape[1]
    size = max(1 << 15, 1 << (2 * taps - 1).bit_length())
    hop = size - taps + 1
    blocks = -(-length // hop)
    padded = np.zeros((audio.shape[0], blocks * hop), np.float32)
    padded[:, :length] = audio
    response = np.fft.rfft(kernel, size)[:, None, :]
    spectrum = np.fft.rfft(padded.reshape(audio.shape[0], blocks, hop), size)
    wet = np.fft.irfft(spectrum * response, size).astype(np.float32, copy=False)
    out = wet[:, :, :hop].copy()
    out[:, 1:, : size - hop] += wet[:, :-1, hop:]
    return out.reshape(out.shape[0], -1)[:, :length]


def _response(bands: Sequence[Band], sample_rate: int, length: int) -> NDArray[np.complex128]:
    """Of bands in series, at the bins of an FFT; frequencies end at 0.45 of the rate."""
    z = _delay(length)
    response = np.ones_like(z)
    for band in bands:
        (b0, b1, b2), (a0, a1, a2) = _biquad(band, sample_rate)
        response *= (b0 + b1 * z + b2 * z * z) / (a0 + a1 * z + a2 * z * z)
    return response


@lru_cache(maxsize=4)
def _delay(length: int) -> NDArray[np.complex128]:
    """Response of a delay by one frame at the bins of an FFT."""
    return np.asarray(np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length))


def _biquad(band: Band, sample_rate: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Coefficients (b, a) of one band. Source: R. Bristow-Johnson, Audio EQ Cookbook."""
    w = 2 * np.pi * min(band.hz, 0.45 * sample_rate) / sample_rate
    cos, alpha, gain = float(np.cos(w)), float(np.sin(w)) / (2 * band.q), 10 ** (band.gain_db / 40)
    if band.kind == "peak":
        b = (1 + alpha * gain, -2 * cos, 1 - alpha * gain)
        return b, (1 + alpha / gain, -2 * cos, 1 - alpha / gain)
    if band.kind == "lowpass":
        return ((1 - cos) / 2, 1 - cos, (1 - cos) / 2), (1 + alpha, -2 * cos, 1 - alpha)
    if band.kind == "highpass":
        return ((1 + cos) / 2, -1 - cos, (1 + cos) / 2), (1 + alpha, -2 * cos, 1 - alpha)
    if band.kind not in ("low", "high"):
        raise ValueError(f"unknown band of an equalizer {band.kind!r}")
    # A high shelf is the low shelf mirrored at half the Nyquist frequency: every cosine and
    # every middle coefficient changes its sign.
    side = 1.0 if band.kind == "low" else -1.0
    root, c = 2 * np.sqrt(gain) * alpha, side * cos
    b = (
        gain * ((gain + 1) - (gain - 1) * c + root),
        side * 2 * gain * ((gain - 1) - (gain + 1) * c),
        gain * ((gain + 1) - (gain - 1) * c - root),
    )
    a = (
        (gain + 1) + (gain - 1) * c + root,
        side * -2 * ((gain - 1) + (gain + 1) * c),
        (gain + 1) + (gain - 1) * c - root,
    )
    return b, a
