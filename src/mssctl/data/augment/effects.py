"""What can be done to one stem ``(C, N)``: equaliser, compressor, soft clipping, reverb.

Each takes its strength as a number and returns new samples. Channels are treated alike, so the
stereo image stays. Filters run in the frequency domain, over silence of `_TAIL` frames or more.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mssctl.data.segments import Audio

_TAIL = 8_192
_HOP = 256  # frames per value of the compressor's level
_ATTACK = 0.010  # seconds
_RELEASE = 0.100

# Each band of the equaliser: its kind, and where its frequency is drawn from, in Hz.
EQ_BANDS = (("low", 60.0, 300.0), ("peak", 300.0, 5_000.0), ("high", 4_000.0, 12_000.0))


def equalize(
    audio: Audio, sample_rate: int, frequencies: NDArray[np.float64], gains_db: NDArray[np.float64]
) -> Audio:
    """A low shelf, a peak and a high shelf, one after the other.

    Frequencies above 0.45 of the sample rate count as that. Second-order filters as in R.
    Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
    """
    length = _fft_length(audio.shape[1] + _TAIL)
    delay, delay2 = _delays(length)
    response = np.ones_like(delay)
    for (kind, _, _), hertz, gain in zip(EQ_BANDS, frequencies, gains_db, strict=True):
        (b0, b1, b2), (a0, a1, a2) = _biquad(kind, min(hertz / sample_rate, 0.45), gain)
        response *= (b0 + b1 * delay + b2 * delay2) / (a0 + a1 * delay + a2 * delay2)
    return _filter(audio, response, length)


@lru_cache(maxsize=4)
def _delays(length: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Responses of a delay by one and by two frames at the bins of an FFT."""
    delay = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)
    return delay, delay * delay


_Three = tuple[float, float, float]


def _biquad(kind: str, frequency: float, gain_db: float) -> tuple[_Three, _Three]:
    """Numerator and denominator; ``frequency`` is a fraction of the sample rate, Q 0.707."""
    a = 10.0 ** (gain_db / 40.0)
    cosine = float(np.cos(2 * np.pi * frequency))
    alpha = float(np.sin(2 * np.pi * frequency)) / 2**0.5
    if kind == "peak":
        return (
            (1 + alpha * a, -2 * cosine, 1 - alpha * a),
            (1 + alpha / a, -2 * cosine, 1 - alpha / a),
        )
    sign = 1.0 if kind == "low" else -1.0  # the high shelf mirrors the low one
    more, less = a + 1, (a - 1) * sign
    root = 2 * a**0.5 * alpha
    return (
        (
            a * (more - less * cosine + root),
            2 * a * (less - more * cosine),
            a * (more - less * cosine - root),
        ),
        (more + less * cosine + root, -2 * (less + more * cosine), more + less * cosine - root),
    )


def compress(audio: Audio, sample_rate: int, ratio: float) -> Audio:
    """Reduce what is louder than the stem's own level by ``ratio``; the level itself is restored.

    The level is that of 256 frames over all channels, smoothed by 10 ms when it rises and 100 ms
    when it falls.
    """
    channels, frames = audio.shape
    power = np.zeros(-(-frames // _HOP) * _HOP)
    power[:frames] = np.square(audio, dtype=np.float64).mean(0)
    mean = power.sum() / frames
    if mean == 0.0:
        return audio
    levels = power.reshape(-1, _HOP).mean(1).tolist()
    rise, fall = (1 - np.exp(-_HOP / (sample_rate * time)) for time in (_ATTACK, _RELEASE))
    level, smooth = levels[0], []
    for value in levels:
        level += (rise if value > level else fall) * (value - level)
        smooth.append(level)
    over = np.maximum(np.array(smooth) / mean, 1.0)
    gain = over ** ((1.0 / ratio - 1.0) / 2.0)
    middles = np.arange(len(gain)) * _HOP + _HOP / 2
    out = audio * np.interp(np.arange(frames), middles, gain).astype(np.float32)
    restored = (mean * frames * channels / np.vdot(out, out).astype(np.float64)) ** 0.5
    return np.asarray(out * np.float32(restored))


def soft_clip(audio: Audio, drive_db: float) -> Audio:
    """Bend the peaks: tanh, of slope 1 for quiet samples, driven ``drive_db`` above the peak's."""
    peak = float(np.abs(audio).max())
    if peak == 0.0:
        return audio
    drive = np.float32(10.0 ** (drive_db / 20.0) / peak)
    return np.asarray(np.tanh(audio * drive) / drive)


def reverberate(
    audio: Audio, sample_rate: int, seconds: float, wet_db: float, rng: np.random.Generator
) -> Audio:
    """Add a room: noise that decays by 60 dB in ``seconds``, other noise in each channel.

    ``wet_db`` is the energy of the room's response relative to that of the direct sound.
    """
    frames = max(1, int(seconds * sample_rate))
    decay = np.exp(-np.log(1e3) * np.arange(frames) / frames).astype(np.float32)
    room = rng.standard_normal((audio.shape[0], frames), dtype=np.float32) * decay
    room *= np.float32(10.0 ** (wet_db / 20.0)) / np.linalg.norm(room, axis=1, keepdims=True)
    room[:, 0] += 1.0
    length = _fft_length(audio.shape[1] + max(frames, _TAIL))
    return _filter(audio, np.fft.rfft(room, length), length)


def _filter(audio: Audio, response: NDArray[np.complexfloating], length: int) -> Audio:
    spectrum = np.fft.rfft(audio, length)
    spectrum *= response.astype(np.complex64)
    return np.ascontiguousarray(np.fft.irfft(spectrum, length)[:, : audio.shape[1]], np.float32)


def _fft_length(frames: int) -> int:
    """A length of at least ``frames`` that the FFT is quick at: 8 to 16 times a power of two."""
    step = 1 << max(frames.bit_length() - 4, 1)
    return -(-frames // step) * step
