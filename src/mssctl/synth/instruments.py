"""Synthesizers: scanned wavetables, harmonic clouds, FM and noise. Each plays one note.

An instrument is a function ``play(note, rng) -> (1 or 2, n) float32``; its timbre was drawn when
it was built. Time-varying filters are exact and need no recursion: a wavetable is computed for a
row of filter settings and the oscillator moves through the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mssctl.audio.effects import Curve, pan_gains, place
from mssctl.audio.filters import Audio
from mssctl.synth.score import Note

Instrument = Callable[[Note, np.random.Generator], Audio]

_LARGEST_TABLE = 4096
_ROWS = 14
# Formant frequencies (Hz) of a, e, i, o, u. Source: Peterson & Barney 1952, rounded means.
VOWELS = {
    "a": (730, 1090, 2440, 3400),
    "e": (530, 1840, 2480, 3500),
    "i": (270, 2290, 3010, 3700),
    "o": (570, 840, 2410, 3300),
    "u": (300, 870, 2240, 3200),
}


def midi_hz(midi: float | Curve) -> Curve:
    """Frequency in Hz of a MIDI note number or of a curve of them."""
    return np.asarray(440.0 * 2.0 ** ((np.asarray(midi, np.float64) - 69) / 12))


def adsr(n: int, shape: tuple[float, float, float, float], rate: int) -> Audio:
    """An envelope ``(n,)`` from (attack s, decay s, sustain level, release s).

    The release lies inside the ``n`` samples.
    """
    attack, decay, sustain, release = shape
    t = np.arange(n, dtype=np.float32) / rate
    fall = sustain + (1 - sustain) * np.exp(-np.maximum(t - attack, 0) / max(decay, 1e-3) * 2.5)
    rise = np.minimum(t / max(attack, 1e-3), 1)
    end = np.minimum((n / rate - t) / max(release, 3e-3), 1)
    return np.asarray(rise * fall * end, np.float32)


def wavetables(rows: Audio, highest: float, rate: int) -> Audio:
    """One cycle of each spectrum, to be played by :func:`scan`.

    Args:
        rows: sine amplitudes of the harmonics 1..H per row, ``(K, H)``.
        highest: highest fundamental frequency to be played, Hz; harmonics that would alias go.
        rate: sample rate in Hz.

    Returns:
        ``(K, size + 1)`` float32: the first sample is repeated at the end.
    """
    count = max(min(rows.shape[1], int(0.45 * rate / highest), _LARGEST_TABLE // 2 - 1), 1)
    # Reading between the samples is linear: sixteen samples in a cycle of the highest harmonic.
    size = min(max(1 << (16 * count - 1).bit_length(), 512), _LARGEST_TABLE)
    spectrum = np.zeros((rows.shape[0], size // 2 + 1), np.complex64)
    # Fixed but scattered phases: no towering peaks, and rows blend without cancelling.
    spectrum[:, 1 : count + 1] = rows[:, :count] * np.exp(2.4j * np.arange(count) ** 1.5)
    tables = np.fft.irfft(spectrum, size).astype(np.float32, copy=False) * np.float32(size / 2)
    return np.concatenate([tables, tables[:, :1]], axis=1)


def scan(tables: Audio, hz: Curve, where: Curve, rate: int, start: float = 0.0) -> Audio:
    """Play a stack of wavetables.

    Args:
        tables: from :func:`wavetables`, ``(K, size + 1)``.
        hz: fundamental frequency per sample, ``(n,)``.
        where: row per sample, 0..K-1, fractional ``(n,)``.
        rate: sample rate in Hz.
        start: first phase in cycles.

    Returns:
        ``(n,)`` float32.
    """
    size, flat = tables.shape[1] - 1, tables.ravel()
    phase = (np.cumsum(hz / rate) + start) % 1.0 * size
    column = np.minimum(phase.astype(np.int32), size - 1)
    f = (phase - column).astype(np.float32)
    row = np.minimum(where.astype(np.int32), tables.shape[0] - 1)
    g = (where - row).astype(np.float32)
    index = row * (size + 1) + column
    low = flat[index] * (1 - f) + flat[index + 1] * f
    index += np.where(row + 1 < tables.shape[0], size + 1, 0)
    high = flat[index] * (1 - f) + flat[index + 1] * f
    return np.asarray(low + g * (high - low), np.float32)


def formant_gain(hz: Curve, formants: tuple[float, ...], width: float = 0.12) -> Curve:
    """Magnitude of a vocal-tract-like filter: resonances of falling strength over a floor."""
    gain = np.full(hz.shape, 0.015)
    for i, center in enumerate(formants):
        bandwidth = 60 + width * center
        gain += 0.75**i / (1 + ((hz - center) / bandwidth * 2) ** 2)
    return gain


def harmonics(shape: str, count: int, rng: np.random.Generator) -> Curve:
    """Amplitudes ``(count,)`` of a named waveform; ``random`` and ``organ`` differ every time."""
    h = np.arange(1, count + 1, dtype=np.float64)
    if shape == "organ":
        drawn = np.isin(h, (1, 2, 3, 4, 6, 8, 10, 12, 16))
        bars = np.where(drawn, rng.choice([0, 0.3, 0.6, 1.0], count) / h**0.3, 0.0)
        bars[0] = max(bars[0], 0.5)
        return bars
    waves: dict[str, Curve] = {
        "saw": 1 / h,
        "square": np.where(h % 2 == 1, 1 / h, 0.02 / h),
        "triangle": np.where(h % 2 == 1, 1 / h**2, 0.003 / h),
        "pulse": np.abs(np.sin(np.pi * h * rng.uniform(0.08, 0.4))) / h,
        "sine": np.where(h == 1, 1.0, np.where(h <= 3, rng.uniform(0, 0.08), 0.0)),
        "random": rng.uniform(0.1, 1, count) / h ** rng.uniform(0.7, 1.6),
    }
    return waves[shape]


@dataclass(frozen=True)
class Patch:
    """A subtractive synthesizer's settings; times in seconds, cutoffs in Hz."""

    wave: Curve
    cutoff: float = 2000.0
    sweep: float = 2.0  # octaves the filter opens at the start of a note
    closing: float = 0.3  # time it takes to close
    q: float = 0.8
    poles: int = 2
    attack: float = 0.005
    decay: float = 0.4
    sustain: float = 0.7
    release: float = 0.08
    voices: int = 1
    detune: float = 0.0  # cents between the outer voices, one way
    width: float = 0.0
    vibrato: float = 0.0  # cents
    vibrato_hz: float = 5.5
    glide: float = 0.0
    wobble_hz: float = 0.0  # filter LFO
    formants: tuple[tuple[float, ...], ...] = ()
    noise: float = 0.0


def subtractive(patch: Patch, rate: int) -> Instrument:
    """An instrument from a patch; notes ring ``release`` longer than written."""
    last = [0.0]

    def play(note: Note, rng: np.random.Generator) -> Audio:
        n = max(int((note.seconds + patch.release) * rate), 64)
        t = np.arange(n, dtype=np.float64) / rate
        pitch = np.full(n, note.midi)
        if patch.glide and last[0]:
            pitch += (last[0] - note.midi) * np.exp(-t / patch.glide)
        last[0] = note.midi
        if patch.vibrato:
            depth = patch.vibrato / 100 * np.minimum(t / 0.4, 1)
            pitch += depth * np.sin(2 * np.pi * patch.vibrato_hz * t + rng.uniform(0, 6))
        rows, where = _filter_rows(patch, note, t, rate)
        spread = 1.3 * patch.detune / 100 if patch.voices > 1 else 0.0
        tables = wavetables(rows, float(midi_hz(pitch.max() + spread)), rate)
        out = np.zeros((1 if patch.voices == 1 else 2, n), np.float32)
        for offset in np.linspace(-1, 1, patch.voices) if patch.voices > 1 else [0.0]:
            hz = midi_hz(pitch + offset * patch.detune / 100 * rng.uniform(0.7, 1.3))
            voice = scan(tables, hz, where, rate, float(rng.random()) if offset else 0.0)
            gains = pan_gains(float(offset) * patch.width) if patch.voices > 1 else np.ones((1, 1))
            out += np.asarray(gains / np.sqrt(patch.voices), np.float32) * voice
        if patch.noise:
            out += np.float32(patch.noise) * rng.standard_normal((1, n), dtype=np.float32)
        level = adsr(n, (patch.attack, patch.decay, patch.sustain, patch.release), rate)
        return out * (level * np.float32(note.velocity))

    return play


def _filter_rows(patch: Patch, note: Note, t: Curve, rate: int) -> tuple[Audio, Curve]:
    """The wavetable rows of a note's filter settings, and the way through them."""
    base = float(midi_hz(note.midi))
    count = max(min(int(0.45 * rate / base), patch.wave.size), 1)
    hz = base * np.arange(1, count + 1, dtype=np.float64)
    if patch.formants:
        gains = np.stack([formant_gain(hz, vowel) for vowel in patch.formants])
        turns = len(patch.formants) - 1
        speed = max(patch.wobble_hz, 1 / max(float(t[-1]), 0.1))
        where = turns * (0.5 - 0.5 * np.cos(np.pi * speed * t.astype(np.float64)))
        return np.asarray(patch.wave[:count] * gains, np.float32), where
    opening = patch.sweep * note.velocity
    low, high = np.log2(max(patch.cutoff, 40)), np.log2(max(patch.cutoff, 40)) + opening
    low -= 1.0 if patch.wobble_hz else 0.0
    cutoffs = 2.0 ** np.linspace(low, max(high, low + 0.01), _ROWS)
    r = hz[None] / cutoffs[:, None]
    gains = ((1 - r**2) ** 2 + (r / patch.q) ** 2) ** (-patch.poles / 4)
    rows = patch.wave[:count] * np.minimum(gains, 6.0)
    if patch.wobble_hz:
        where = 0.5 + 0.5 * np.sin(2 * np.pi * patch.wobble_hz * (t + note.start))
    else:
        where = np.exp(-t / max(patch.closing, 1e-3) * 2)
    return np.asarray(rows, np.float32), (_ROWS - 1) * where.astype(np.float64)


def plucked(rate: int, rng: np.random.Generator) -> Instrument:
    """A string or bar: every harmonic decays at its own speed, high ones first."""
    bright, ring = rng.uniform(0.6, 1.8), rng.uniform(0.4, 2.5)
    point, damping = rng.uniform(0.08, 0.45), rng.uniform(0.05, 0.4)

    def play(note: Note, _: np.random.Generator) -> Audio:
        base = float(midi_hz(note.midi))
        n = int((min(note.seconds, 2.5 * ring) + 0.15) * rate)
        h = np.arange(1, max(min(int(0.4 * rate / base), 60), 1) + 1)
        start = np.abs(np.sin(np.pi * h * point)) / h ** (bright * (1.3 - 0.4 * note.velocity))
        decay = (1 + damping * h) / ring * (base / 220) ** 0.4
        times = np.linspace(0, 1, _ROWS) ** 2 * n / rate
        rows = start[None] * np.exp(-times[:, None] * decay[None])
        t = np.arange(n) / rate
        where = np.sqrt(t * rate / n) * (_ROWS - 1)
        tables = wavetables(np.asarray(rows, np.float32), base, rate)
        sound = scan(tables, np.full(n, base), where, rate)
        return (sound * adsr(n, (0.002, 1, 1.0, 0.15), rate) * np.float32(note.velocity))[None]

    return play


def fm(rate: int, rng: np.random.Generator, low: bool = False) -> Instrument:
    """Two-operator frequency modulation: bells, electric pianos, hard basses."""
    ratio = float(rng.choice([0.5, 1, 1, 2, 3] if low else [1, 1, 2, 3, 3.5, 5.2, 7, 1.41, 14]))
    index, floor = rng.uniform(0.8, 6 if low else 4), rng.uniform(0, 0.6)
    fade, ring = rng.uniform(0.05, 0.8), rng.uniform(0.3, 2.0)
    sustain = float(rng.choice([0.0, 0.5, 0.8])) if not low else 0.7

    def play(note: Note, _: np.random.Generator) -> Audio:
        base = float(midi_hz(note.midi))
        n = max(int((note.seconds + 0.12) * rate), 64)
        t = np.arange(n, dtype=np.float32) / rate
        # Keep the sidebands below the Nyquist frequency.
        depth = min(index, 0.4 * rate / (base * max(ratio, 1)) - 1)
        amount = depth * (floor + (1 - floor) * np.exp(-t / fade)) * note.velocity
        inner = np.sin(np.float32(2 * np.pi) * ((base * ratio * t) % 1.0))
        sound = np.sin(np.float32(2 * np.pi) * ((base * t) % 1.0) + amount * inner)
        level = adsr(n, (0.003, ring, sustain, 0.12), rate)
        return np.asarray(sound * level * np.float32(note.velocity), np.float32)[None]

    return play


def cloud(
    rate: int, wave: Curve, rng: np.random.Generator, formants: tuple[float, ...] = ()
) -> Instrument:
    """An ensemble as one loop: each harmonic is a band of random phases (stereo).

    Source: N. O. Paul, "PADsynth algorithm".
    """
    width, grow = rng.uniform(8, 45), rng.uniform(0.8, 1.1)
    cutoff, attack = rng.uniform(1200, 7000), float(rng.choice([0.02, 0.15, 0.5]))
    release, size = float(rng.uniform(0.1, 0.8)), 1 << 17
    loops: dict[float, Audio] = {}

    def loop(midi: float, rng: np.random.Generator) -> Audio:
        base = float(midi_hz(midi))
        spectrum = np.zeros((2, size // 2 + 1), np.complex64)
        for h in range(1, max(min(int(0.4 * rate / base), wave.size, 70), 1) + 1):
            center = h * base * size / rate
            sigma = max((2 ** (width / 1200) - 1) * base * h**grow * size / rate, 0.8)
            low, high = max(int(center - 3 * sigma), 1), min(int(center + 3 * sigma) + 2, size // 2)
            k = np.arange(low, high)
            tone = wave[h - 1] / np.sqrt(1 + (h * base / cutoff) ** 4)
            if formants:
                tone *= formant_gain(np.asarray([h * base]), formants)[0] * 2
            band = tone * np.exp(-0.5 * ((k - center) / sigma) ** 2) / np.sqrt(sigma)
            spectrum[:, low:high] += band * np.exp(2j * np.pi * rng.random((2, k.size)))
        sound = np.fft.irfft(spectrum)
        return np.asarray(sound / (np.sqrt(np.mean(sound**2)) * 3 + 1e-9), np.float32)

    def play(note: Note, rng: np.random.Generator) -> Audio:
        if note.midi not in loops:
            loops[note.midi] = loop(note.midi, rng)
        n = max(int((note.seconds + release) * rate), 64)
        start = int(rng.integers(size))
        copies = -(-(n + start) // size)
        sound = np.tile(loops[note.midi], (1, copies))[:, start : start + n]
        return sound * (adsr(n, (attack, 1, 1, release), rate) * np.float32(note.velocity))

    return play


def riser(rate: int, rng: np.random.Generator) -> Instrument:
    """Noise that swells or falls, or a steady texture; pitch sets its center."""
    up, resonant = bool(rng.random() < 0.6), rng.uniform(0.1, 0.8)

    def play(note: Note, rng: np.random.Generator) -> Audio:
        n = max(int(note.seconds * rate), 256)
        # Band noise made by modulating smooth random curves onto a moving carrier.
        t = np.arange(n) / n
        hz = 300 * 2.0 ** (4.5 * (t if up else 1 - t))
        points = max(int(n / rate * 4000 * (1.1 - resonant)), 8)
        slow = rng.standard_normal((2, 2, points))
        curve = np.stack([
            [np.interp(np.linspace(0, points - 1, n), np.arange(points), c) for c in side]
            for side in slow
        ])  # fmt: skip
        phase = 2 * np.pi * np.cumsum(hz) / rate
        sound = curve[:, 0] * np.cos(phase) + curve[:, 1] * np.sin(phase)
        shape = np.minimum((t if up else 1 - t) ** 1.5, np.minimum(t, 1 - t) * 20)
        return np.asarray(sound * shape * note.velocity * 0.3, np.float32)

    return play


def perform(
    track: Audio, notes: list[Note], play: Instrument, rng: np.random.Generator, rate: int
) -> None:
    """Add all notes to ``track (2, N)``; equal notes are rendered twice at most, then reused."""
    made: dict[tuple[float, int, int], list[Audio]] = {}
    for note in notes:
        loud = max(round(note.velocity * 4), 1)
        key = (round(note.midi, 2), round(note.seconds * 50), loud)
        takes = made.setdefault(key, [])
        if len(takes) < 2:
            takes.append(play(note._replace(velocity=loud / 4), rng))
        place(track, takes[int(rng.integers(len(takes)))], note.start, note.velocity, rate)
