"""Sustained sections and instruments that sound like singing: what a model takes for a voice."""

import numpy as np

from mssctl.audio.effects import place
from mssctl.audio.filters import Audio
from mssctl.synth.instruments import VOWELS, Instrument, Patch, cloud, harmonics, subtractive
from mssctl.synth.score import Note, weighted

# Resonances of instruments' bodies in Hz; rounded from: Fletcher & Rossing, "The physics of
# musical instruments".
_BODIES = {
    "violin": (280.0, 460.0, 1000.0, 2500.0),
    "cello": (110.0, 200.0, 400.0, 1200.0),
    "reed": (480.0, 1100.0, 1900.0, 3000.0),
    "brass": (600.0, 1200.0, 2200.0, 3600.0),
}
_SECTIONS = {"strings": 3, "organ": 3, "choir": 2, "pad": 3, "brass": 1}
_SOLOISTS = {"vowels": 3, "violin": 2, "cello": 1, "reed": 2, "brass": 1, "flute": 2, "theremin": 2}


def _scaled(body: tuple[float, ...], rng: np.random.Generator) -> tuple[float, ...]:
    return tuple(float(hz * rng.uniform(0.85, 1.2)) for hz in body)


def section(rng: np.random.Generator, rate: int) -> Instrument:
    """Draw one that holds chords: strings, organ, synthetic choir, pad or brass."""
    kind = weighted(rng, _SECTIONS)
    if kind in ("choir", "pad"):
        vowel = _scaled(VOWELS[str(rng.choice(list(VOWELS)))], rng) if kind == "choir" else ()
        shape = str(rng.choice(["saw", "pulse", "triangle", "random"]))
        return cloud(rate, harmonics(shape, 70, rng), rng, vowel)
    if kind == "organ":
        wave = harmonics("organ", 200, rng)
        patch = Patch(wave=wave, cutoff=8000, sweep=0, sustain=1, attack=0.004, release=0.05)
        return _rotating(subtractive(patch, rate), rng, rate)
    strings = kind == "strings"
    patch = Patch(
        wave=harmonics("saw" if strings else "random", 200, rng),
        cutoff=float(2 ** rng.uniform(9, 12)),
        sweep=float(rng.uniform(0.5, 2) if strings else rng.uniform(1.5, 3.5)),
        closing=float(rng.uniform(0.5, 3)),
        attack=float(rng.uniform(0.04, 0.4) if strings else rng.uniform(0.02, 0.08)),
        decay=2.0,
        sustain=0.9,
        release=float(rng.uniform(0.1, 0.5)),
        voices=int(rng.choice([2, 3, 5])),
        detune=float(rng.uniform(5, 18)),
        width=float(rng.uniform(0.3, 1)),
        vibrato=float(rng.uniform(0, 18)),
        formants=(_scaled(_BODIES["violin"], rng),) if strings and rng.random() < 0.5 else (),
    )
    return subtractive(patch, rate)


def _rotating(play: Instrument, rng: np.random.Generator, rate: int) -> Instrument:
    """A loudspeaker that turns: loudness swings against each other left and right."""
    speed, depth = float(rng.choice([0.8, 6.5])), float(rng.uniform(0.1, 0.5))

    def turned(note: Note, rng: np.random.Generator) -> Audio:
        sound = play(note, rng)
        angle = 2 * np.pi * speed * (note.start + np.arange(sound.shape[1]) / rate)
        gains = 1 - depth * (0.5 + 0.5 * np.sin(angle + np.array([[0.0], [2.0]])))
        return np.asarray(sound * gains, np.float32)

    return turned


def soloist(rng: np.random.Generator, rate: int) -> Instrument:
    """Draw one that plays a melody with glides, vibrato, vowels or breath."""
    kind = weighted(rng, _SOLOISTS)
    formants: tuple[tuple[float, ...], ...] = ()
    if kind == "vowels":
        names = list(VOWELS)
        formants = tuple(_scaled(VOWELS[str(rng.choice(names))], rng) for _ in range(3))
    elif kind in _BODIES:
        formants = (_scaled(_BODIES[kind], rng),)
    pure = kind in ("flute", "theremin")
    shape = "sine" if pure else str(rng.choice(["saw", "saw", "pulse", "random"]))
    patch = Patch(
        wave=harmonics(shape, 200, rng),
        cutoff=float(2 ** rng.uniform(10, 12.5)),
        sweep=float(rng.uniform(0, 1.5)),
        attack=float(rng.uniform(0.02, 0.15)),
        decay=1.5,
        sustain=float(rng.uniform(0.7, 1)),
        release=float(rng.uniform(0.06, 0.25)),
        vibrato=float(rng.uniform(60, 130) if kind == "theremin" else rng.uniform(5, 60)),
        vibrato_hz=float(rng.uniform(4.5, 6.8)),
        glide=float(rng.choice([0.03, 0.06, 0.1] if kind == "theremin" else [0, 0.02, 0.05])),
        wobble_hz=float(rng.uniform(0.3, 3)) if kind == "vowels" and rng.random() < 0.4 else 0.0,
        formants=formants,
        noise=float(rng.uniform(0.005, 0.06) if kind == "flute" else rng.choice([0, 0, 0.01])),
    )
    return _legato(subtractive(patch, rate), rng, rate)


def _legato(play: Instrument, rng: np.random.Generator, rate: int) -> Instrument:
    """Notes that reach into the next one, as sung ones do; some start with a grace note."""
    reach, grace = float(rng.uniform(0.0, 0.08)), float(rng.uniform(0, 0.2))

    def tied(note: Note, rng: np.random.Generator) -> Audio:
        sound = play(note._replace(seconds=note.seconds + reach), rng)
        if rng.random() < grace and note.seconds > 0.2:
            short = play(note._replace(seconds=0.05, midi=note.midi - 2), rng)
            place(sound, short[: len(sound)], 0.0, 0.5, rate)
        return sound

    return tied
