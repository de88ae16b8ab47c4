"""Coding noise like that of MP3 and AAC, for a whole example whose mixture stays the sum.

The mixture's MDCT is quantized in bands, and each stem takes its share of the noise: the stems
after it add up to the coded mixture. What lies above the codec's bandwidth is taken from all.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from mssctl.data.segments import Audio

_M = 1024  # coefficients per block, as in AAC
_FALL = 12.0  # dB that the signal-to-noise ratio is lower at the top of the band than at the bottom


def code(stems: Audio, sample_rate: int, snr_db: float, hertz: float) -> Audio:
    """Stems ``(S, C, N)`` after coding their sum.

    Args:
        stems: of one example.
        sample_rate: Hz.
        snr_db: signal-to-noise ratio in the lowest band; falls by 12 dB towards ``hertz``.
        hertz: bandwidth.
    """
    frames = stems.shape[-1]
    spectra = mdct(stems)  # (S, C, blocks, M)
    top = min(_M, max(8, round(hertz * 2 * _M / sample_rate)))
    starts = _bands(top)
    kept = spectra[..., :top]
    mix = kept.sum(0)  # (C, blocks, top)
    widths = np.diff([*starts, top])
    energy = np.add.reduceat(np.square(mix), starts, axis=-1) / widths.astype(np.float32)
    snr = snr_db - _FALL * np.asarray(starts, np.float32) / top
    steps = np.sqrt(12.0 * energy * np.float32(10.0) ** (-snr / 10.0))
    steps = np.repeat(np.maximum(steps, np.float32(1e-9)), widths, axis=-1)
    noise = np.round(mix / steps) * steps - mix
    power = np.add.reduceat(np.square(kept), starts, axis=-1)  # (S, C, blocks, bands)
    total = power.sum(0)
    share = np.divide(power, total, out=np.zeros_like(power), where=total > 0)
    change = -spectra
    change[..., :top] = np.repeat(share, widths, axis=-1) * noise
    return stems + inverse_mdct(change, frames)


def mdct(audio: Audio) -> Audio:
    """MDCT with a sine window: ``(..., N)`` -> ``(..., blocks, M)``; orthonormal."""
    blocks = -(-audio.shape[-1] // _M) + 1
    padded = np.zeros((*audio.shape[:-1], (blocks + 1) * _M), np.float32)
    padded[..., _M : _M + audio.shape[-1]] = audio
    parts = padded.reshape(*audio.shape[:-1], blocks + 1, _M)
    window, _ = _tables()
    first, second = parts[..., :-1, :] * window[:_M], parts[..., 1:, :] * window[_M:]
    half = _M // 2
    a, b = first[..., :half], first[..., half:]
    c, d = second[..., :half], second[..., half:]
    return _dct4(np.concatenate([-c[..., ::-1] - d, a - b[..., ::-1]], axis=-1))


def inverse_mdct(spectra: Audio, frames: int) -> Audio:
    """The inverse of `mdct`: ``(..., blocks, M)`` -> ``(..., frames)``."""
    folded = _dct4(spectra)
    half = _M // 2
    low, high = folded[..., :half], folded[..., half:]  # (-c_r - d, a - b_r)
    window, _ = _tables()
    first = np.concatenate([high, -high[..., ::-1]], axis=-1) * window[:_M]
    second = np.concatenate([-low[..., ::-1], -low], axis=-1) * window[_M:]
    out = first[..., 1:, :] + second[..., :-1, :]
    return np.ascontiguousarray(out.reshape(*out.shape[:-2], -1)[..., :frames])


def _dct4(x: Audio) -> Audio:
    """Orthonormal DCT-IV of the last axis, its own inverse, by an FFT of half the length."""
    _, twiddle = _tables()
    folded = (x[..., 0::2] + 1j * x[..., ::-1][..., 0::2]) * twiddle
    turned = np.fft.fft(folded) * twiddle
    out = np.empty_like(x)
    out[..., 0::2] = turned.real
    out[..., ::-1][..., 0::2] = -turned.imag
    return out


@cache
def _tables() -> tuple[Audio, NDArray[np.complex64]]:
    window = np.sin(np.pi * (np.arange(2 * _M) + 0.5) / (2 * _M)).astype(np.float32)
    turn = np.exp(-1j * np.pi * (8 * np.arange(_M // 2) + 1) / (8 * _M)) * (2 / _M) ** 0.25
    return window, turn.astype(np.complex64)


@cache
def _bands(top: int) -> list[int]:
    """First coefficients of bands: 4 wide at the bottom, a sixth of their frequency above."""
    starts = [0]
    while (following := starts[-1] + max(4, starts[-1] // 6)) < top:
        starts.append(following)
    return starts
