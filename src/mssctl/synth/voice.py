"""Voices: a singer without samples, and another size for a recorded one."""

import numpy as np

from mssctl.audio.effects import Curve
from mssctl.audio.filters import Audio, Band, convolve, equalizer
from mssctl.synth.instruments import (
    VOWELS,
    Instrument,
    adsr,
    formant_gain,
    midi_hz,
    scan,
    wavetables,
)
from mssctl.synth.score import Note

_CONSONANTS = ("", "", "m", "l", "s", "sh", "t", "k", "h")
_WINDOW = 0.046  # seconds: resolves harmonics no further than an envelope needs
_BLOCK = 512  # frames at a time: bounds the memory
_STRONGEST = 2.0  # largest change of a frequency's level, in nepers (17 dB)


def synthetic_singer(rng: np.random.Generator, rate: int, low: bool) -> Instrument:
    """Draw a singer: glottal harmonics, moving formants, breath and consonants.

    Args:
        rng: draws the tract length, brightness and vibrato.
        rate: sample rate in Hz.
        low: a long vocal tract (male) instead of a short one.

    Returns:
        An instrument; each note is one syllable.
    """
    tract = float(rng.uniform(0.86, 1.0) if low else rng.uniform(1.05, 1.2))
    tilt, breath = rng.uniform(0.9, 1.4), rng.uniform(0.001, 0.006)
    depth, speed = rng.uniform(0.1, 0.5), rng.uniform(4.8, 6.2)
    last = [0.0]

    def play(note: Note, rng: np.random.Generator) -> Audio:
        n = max(int((note.seconds + 0.06) * rate), 512)
        t = np.arange(n, dtype=np.float64) / rate
        pitch = note.midi + depth * np.minimum(np.maximum(t - 0.2, 0) / 0.4, 1) * np.sin(
            2 * np.pi * speed * t
        )
        start = last[0] if abs(last[0] - note.midi) < 6 else note.midi - 1.5
        pitch += (start - note.midi) * np.exp(-t / 0.035)
        last[0] = note.midi
        drift = rng.standard_normal(int(n / rate * 25) + 2) * 0.06
        pitch += np.interp(t * 25, np.arange(drift.size), drift)
        consonant = _CONSONANTS[int(rng.integers(len(_CONSONANTS)))]
        base = float(midi_hz(note.midi))
        count = max(int(min(9000, 0.45 * rate) / base), 1)
        hz = base * np.arange(1, count + 1, dtype=np.float64)
        rows = _vowels(hz, consonant, tract, rng) * np.asarray((hz / hz[0]) ** -tilt, np.float32)
        where = np.clip((t - 0.03) / 0.05, 0, 1)
        where += np.clip((t - t[-1] * 0.55) / max(t[-1] * 0.35, 0.03), 0, 1)
        pitch_hz = midi_hz(pitch)
        sound = scan(wavetables(rows, float(pitch_hz.max()), rate), pitch_hz, where, rate)
        sound /= np.sqrt(np.mean(np.square(sound)) + 1e-12) * 4
        noise = rng.standard_normal(n, dtype=np.float32) * np.float32(breath)
        bands = [Band("peak", 1500 * tract, 12, 0.7), Band("lowpass", 6000)]
        sound += convolve(noise[None], equalizer(bands, rate)[None, :1024])[0]
        voiced = adsr(n, (0.08 if consonant in ("s", "sh", "h") else 0.03, 1, 0.85, 0.07), rate)
        sound = sound * voiced + _noise(consonant, n, rng, rate)
        return np.asarray(sound * np.float32(note.velocity), np.float32)[None]

    return play


def _vowels(hz: Curve, consonant: str, tract: float, rng: np.random.Generator) -> Audio:
    """The strength of each harmonic ``(3, H)`` at the onset, in the vowel and at the end."""
    names = list(VOWELS)
    picks = [VOWELS[names[int(rng.integers(5))]] for _ in range(2)]
    shapes = [picks[0], picks[0], picks[1] if rng.random() < 0.4 else picks[0]]
    rows = np.stack([formant_gain(hz, tuple(f * tract for f in shape)) for shape in shapes])
    if consonant in ("m", "l"):
        # Nasals and liquids: the mouth is closed, only the lowest resonance sounds.
        rows[0] = 0.6 * formant_gain(hz, (260.0 * tract, 1100.0 * tract)) / (1 + (hz / 700) ** 2)
    return np.asarray(rows, np.float32)


def _noise(consonant: str, n: int, rng: np.random.Generator, rate: int) -> Audio:
    """The unvoiced start of a syllable, ``(n,)``."""
    if consonant not in ("s", "sh", "t", "k", "h"):
        return np.zeros(n, np.float32)
    center, length = {"s": (7000, 0.09), "sh": (3200, 0.1), "t": (5000, 0.025),
                      "k": (2000, 0.03), "h": (1500, 0.07)}[consonant]  # fmt: skip
    t = np.arange(n, dtype=np.float32) / rate
    burst = rng.standard_normal(n, dtype=np.float32) * np.exp(-((t / length) ** 2) * 2)
    bands = [Band("highpass", center * 0.7), Band("peak", center, 8)]
    shaped = convolve(burst[None], equalizer(bands, rate)[None, :1024])[0]
    return np.asarray(shaped * 0.04, np.float32)


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
