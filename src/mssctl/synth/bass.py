"""The bass stem: sampled and synthetic basses that follow the chords' roots."""

import itertools

import numpy as np

from mssctl.audio.filters import Audio
from mssctl.synth.instruments import Instrument, Patch, fm, harmonics, perform, subtractive
from mssctl.synth.score import Note, Score, activity, in_octaves, rhythm, weighted
from mssctl.synth.studio import Studio, choose_bank, sampled

_LOWEST, _HIGHEST = 24, 52
_LOWEST_STRING = 28  # of a bass guitar
_SUB = 36  # a sub layer sounds below this: its fundamental is 33 to 62 Hz
# Of the kinds of synthetic bass. Struck low tones are common in electronic music, and what a model
# takes for a kick where it has heard few of them.
_SHARES = {"808": 7, "sub": 2, "saw": 2, "square": 1, "reese": 1, "acid": 1, "wobble": 1, "fm": 1}


def synthetic_bass(rng: np.random.Generator, rate: int) -> Instrument:
    """Draw one of: sub, long 808-like tone, filtered saw or square, reese, acid, wobble, FM."""
    kind = weighted(rng, _SHARES)
    if kind == "fm":
        return fm(rate, rng, low=True)
    if kind == "808":
        return subtractive(_long_tone(rng), rate)
    shape = {"sub": "sine", "square": "square", "acid": "saw"}.get(
        kind, str(rng.choice(["saw", "pulse", "triangle", "random"]))
    )
    patch = Patch(
        wave=harmonics(shape, 300, rng),
        cutoff=float(2 ** rng.uniform(6.5, 10)),
        sweep=float(rng.uniform(1, 4)),
        closing=float(rng.uniform(0.05, 0.6)),
        q=float(rng.uniform(2.5, 7)) if kind == "acid" else float(rng.uniform(0.6, 2)),
        poles=int(rng.choice([2, 4])),
        decay=float(rng.uniform(0.15, 1.5)),
        sustain=float(rng.uniform(0.2, 1)),
        release=float(rng.uniform(0.02, 0.12)),
        voices=int(rng.choice([2, 3, 5])) if kind == "reese" else 1,
        detune=float(rng.uniform(8, 25)),
        width=float(rng.uniform(0, 0.6)),
        glide=float(rng.choice([0, 0, 0.02, 0.06])),
        wobble_hz=float(rng.uniform(1, 7)) if kind == "wobble" else 0.0,
    )
    return subtractive(patch, rate)


def _long_tone(rng: np.random.Generator) -> Patch:
    """A sine with some overtones: struck and dying away, or ringing as long as the note."""
    struck = rng.random() < 0.7
    return Patch(
        wave=harmonics("sine", int(rng.choice([1, 3, 6])), rng),
        cutoff=float(rng.uniform(150, 700)),
        sweep=float(rng.uniform(0, 2)),
        decay=float(rng.uniform(0.05, 0.6) if struck else rng.uniform(0.6, 2.5)),
        sustain=0.0 if struck else float(rng.uniform(0.1, 0.9)),
        release=float(rng.uniform(0.05, 0.3)),
        glide=float(rng.choice([0, 0.03, 0.1])),
    )


def bass_line(
    score: Score, rng: np.random.Generator, plays: list[bool], lowest: int = _LOWEST
) -> list[Note]:
    """Notes MIDI 24-52: held roots, eighths, off-beats, octaves, walking or syncopated lines."""
    style = str(
        rng.choice(["held", "eighths", "off", "octaves", "walk", "groove", "groove", "hits"])
    )
    beats = {
        "held": [(0.0, 3.9)],
        "eighths": [(i / 2, 0.45) for i in range(8)],
        "off": [(i + 0.5, 0.4) for i in range(4)],
        "octaves": [(i / 2, 0.4) for i in range(8)],
        "walk": [(float(i), 0.9) for i in range(4)],
    }.get(style) or rhythm(
        rng, float(rng.uniform(0.05, 0.2) if style == "hits" else rng.uniform(0.2, 0.8))
    )
    length, center = float(rng.uniform(0.5, 1.0)), float(rng.uniform(28, 42))
    moves = [0 if rng.random() < 0.7 else int(rng.choice([4, 2, 6, 7, -3])) for _ in beats]
    notes = []
    for bar in itertools.compress(range(score.bars), plays):
        root = score.chords[bar]
        for i, (start, hold) in enumerate(beats):
            degree = root
            if style == "walk" and i:
                degree += int(rng.choice([2, 4, 1, -1, 6]))
            elif style in ("groove", "eighths"):
                degree += moves[i]
            pitch = score.degree(degree, center) + (12 if style == "octaves" and i % 2 else 0)
            pitch = in_octaves(pitch, lowest, _HIGHEST)
            loud = rng.uniform(0.75, 1) if start % 1 == 0 else rng.uniform(0.5, 0.95)
            when = score.time(bar * 4 + start)
            notes.append(Note(when, hold * length * score.beat, pitch, loud))
    return notes


def play_bass(studio: Studio, score: Score, rng: np.random.Generator, rest: float) -> Audio:
    """The bass stem ``(2, N)``; sampled in half of the songs where samples exist."""
    track = studio.silence()
    bank = choose_bank(studio.samples("bass"), rng)
    instrument = sampled(studio, bank, rng) if bank and rng.random() < 0.5 else None
    lowest = _LOWEST if instrument is None else _LOWEST_STRING
    notes = bass_line(score, rng, activity(rng, score.bars, rest), lowest)
    if instrument is None and rng.random() < 0.5:
        notes = [note._replace(midi=in_octaves(note.midi, 0, _SUB)) for note in notes]
    perform(track, notes, instrument or synthetic_bass(rng, studio.rate), rng, studio.rate)
    if rng.random() < 0.35:
        # As produced music has it: without it, a model learns that all below 60 Hz is the kick.
        sub = Patch(wave=harmonics("sine", 4, rng), cutoff=400, sustain=0.9)
        deep = [note._replace(midi=in_octaves(note.midi, 0, _SUB)) for note in notes]
        perform(track, deep, subtractive(sub, studio.rate), rng, studio.rate)
    return track
