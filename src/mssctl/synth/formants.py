"""Changes the size of a singer: moves the formants of a voice and leaves its pitch."""

import numpy as np

from mssctl.audio.filters import Audio

_WINDOW = 0.046  # seconds: resolves harmonics no further than an envelope needs
_BLOCK = 512  # frames at a time: bounds the memory
_STRONGEST = 2.0  # largest change of a frequency's level, in nepers (17 dB)


def shift_formants(audio: Audio, factor: float, rate: int) -> Audio:
    """Multiply the formant frequencies of a voice ``(C, N)`` by ``factor`` (0.7 to 1.4).

    The spectral envelope is the cepstrum below 1 to 2 ms (Oppenheim & Schafer, "Discrete-time
    signal processing", chapter 13); it is read at ``f / factor`` and replaces the old one.
    """
    size = 1 << round(np.log2(_WINDOW * rate))
    hop, count = size // 4, audio.shape[1]
    frames = -(-count // hop) + 3
    padded = np.pad(audio, ((0, 0), (3 * hop, frames * hop - count + size)))
    window = np.hanning(size + 1)[:size].astype(np.float32)
    views = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::hop][:, :frames]
    out = np.zeros((audio.shape[0], frames + 3, hop), np.float32)
    for first in range(0, frames, _BLOCK):
        spectrum = np.fft.rfft(views[:, first : first + _BLOCK] * window)
        spectrum *= _envelope_gain(np.abs(spectrum).mean(axis=0), factor, rate)
        sound = np.fft.irfft(spectrum, size).astype(np.float32, copy=False) * window
        parts = sound.reshape(*sound.shape[:2], 4, hop)
        for part in range(4):
            out[:, first + part : first + part + sound.shape[1]] += parts[:, :, part]
    # Four overlapping squared Hann windows add up to 1.5.
    whole = out.reshape(audio.shape[0], -1)[:, 3 * hop : 3 * hop + count]
    return np.asarray(whole / 1.5, np.float32)


def _envelope_gain(magnitude: Audio, factor: float, rate: int) -> Audio:
    """What turns the envelope of each frame ``(frames, bins)`` into the moved one."""
    level = np.log(magnitude + 3e-3 * magnitude.mean(axis=1, keepdims=True) + 1e-9)
    cepstrum = np.fft.irfft(level)
    half = max(int(0.001 * rate), 2)
    lifter = np.zeros(cepstrum.shape[1], np.float32)
    lifter[0], lifter[1:half] = 1, 2
    lifter[half : 2 * half] = 2 * np.hanning(2 * half)[half:]
    envelope = np.fft.rfft(cepstrum * lifter).real
    bins = level.shape[1]
    where = np.minimum(np.arange(bins) / factor, bins - 1.001)
    index = where.astype(np.int64)
    f = (where - index).astype(np.float32)
    moved = envelope[:, index] * (1 - f) + envelope[:, index + 1] * f
    gain = np.exp(np.clip(moved - envelope, -_STRONGEST, _STRONGEST))
    return np.asarray(gain, np.float32)
