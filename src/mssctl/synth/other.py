"""The accompaniment stem: two to four layers of keys, guitars, pads, leads and textures."""

import numpy as np

from mssctl.audio.effects import pan_gains, place, rms, saturate, widen
from mssctl.audio.filters import Audio, Band, convolve, equalizer
from mssctl.synth.ensemble import section, soloist
from mssctl.synth.instruments import (
    VOWELS,
    Instrument,
    Patch,
    cloud,
    fm,
    harmonics,
    perform,
    plucked,
    riser,
    subtractive,
)
from mssctl.synth.score import Note, Score, activity, chord_part, melody, weighted
from mssctl.synth.studio import Studio, choose_bank, sampled, trim
from mssctl.synth.vocoder import Take, draw_singer, sing_again


def _shape(rng: np.random.Generator) -> str:
    return str(rng.choice(["saw", "saw", "square", "pulse", "triangle", "random", "organ"]))


def keys_patch(rng: np.random.Generator, rate: int) -> Instrument:
    """A polyphonic synthesizer: plucks, stabs, supersaws, organs, ensembles, bells."""
    kind = str(rng.choice(["pluck", "stab", "super", "cloud", "cloud", "organ", "fm", "string"]))
    if kind == "fm":
        return fm(rate, rng)
    if kind == "string":
        return plucked(rate, rng)
    if kind == "cloud":
        vowel = VOWELS[str(rng.choice(list(VOWELS)))] if rng.random() < 0.2 else ()
        return cloud(rate, harmonics(_shape(rng), 70, rng), rng, vowel)
    patch = Patch(
        wave=harmonics("organ" if kind == "organ" else _shape(rng), 200, rng),
        cutoff=float(2 ** rng.uniform(8, 12)) * (4 if kind == "organ" else 1),
        sweep=float(rng.uniform(0, 4)),
        closing=float(rng.uniform(0.05, 0.8)),
        q=float(rng.uniform(0.6, 3)),
        attack=float(rng.choice([0.003, 0.01, 0.08])),
        decay=float(rng.uniform(0.1, 0.8)),
        sustain=0.0 if kind == "pluck" else float(rng.uniform(0.4, 1)),
        release=float(rng.uniform(0.05, 0.4)),
        voices=int(rng.choice([3, 5])) if kind == "super" else 1,
        detune=float(rng.uniform(8, 22)),
        width=float(rng.uniform(0.4, 1)),
        vibrato=float(rng.uniform(3, 12)) if kind == "organ" else 0.0,
        vibrato_hz=6.5,
    )
    return subtractive(patch, rate)


def lead_patch(rng: np.random.Generator, rate: int) -> Instrument:
    """A solo instrument; a third of them with vibrato and vowels, close to singing."""
    vowels: tuple[tuple[float, ...], ...] = ()
    if rng.random() < 0.35:
        vowels = tuple(VOWELS[str(rng.choice(list(VOWELS)))] for _ in range(3))
    patch = Patch(
        wave=harmonics(str(rng.choice(["saw", "square", "pulse", "triangle"])), 200, rng),
        cutoff=float(2 ** rng.uniform(9, 12)),
        sweep=float(rng.uniform(0.5, 3)),
        closing=float(rng.uniform(0.1, 1)),
        q=float(rng.uniform(0.7, 3)),
        attack=float(rng.choice([0.005, 0.03, 0.08])),
        sustain=0.9,
        release=float(rng.uniform(0.05, 0.25)),
        vibrato=float(rng.uniform(0, 50)),
        vibrato_hz=float(rng.uniform(4.5, 6.5)),
        glide=float(rng.choice([0, 0.03, 0.08])),
        formants=vowels,
        noise=float(rng.choice([0, 0, 0.01, 0.03])),
    )
    return subtractive(patch, rate)


def _amplifier(track: Audio, rng: np.random.Generator, rate: int) -> Audio:
    """A guitar amplifier: from clean to distorted, then a loudspeaker's narrow band."""
    driven = saturate(track, float(rng.choice([0.7, 1.5, 4, 10])), float(rng.uniform(0, 0.3)))
    speaker = equalizer(
        [
            Band("highpass", rng.uniform(70, 130)),
            Band("lowpass", rng.uniform(3500, 7000), q=0.9),
            Band("peak", rng.uniform(1500, 3200), rng.uniform(0, 6), 1.0),
        ],
        rate,
    )
    return convolve(driven, speaker[None, :2048])


def _layer(
    studio: Studio, score: Score, rng: np.random.Generator, role: str, plays: list[bool]
) -> Audio:
    """One instrument playing one part ``(2, N)`` in the bars of ``plays``."""
    rate, track = studio.rate, studio.silence()
    bank = choose_bank(studio.samples("other"), rng) if rng.random() < 0.55 else []
    center = float(rng.uniform(54, 70))
    if role == "lead":
        play = sampled(studio, bank, rng) or lead_patch(rng, rate)
        if studio.varied and rng.random() < 0.5:
            play, bank = soloist(rng, rate), []
        notes = melody(score, rng, center + rng.uniform(0, 14), float(rng.uniform(0.1, 0.7)), plays)
    elif role == "pad":
        play = cloud(rate, harmonics(_shape(rng), 70, rng), rng)
        if rng.random() < 0.35:
            play = keys_patch(rng, rate)
        if studio.varied and rng.random() < 0.6:
            play = section(rng, rate)
        notes = chord_part(score, rng, center, "pad", plays)
    else:
        play = sampled(studio, bank, rng) or keys_patch(rng, rate)
        guitar = bool(bank) and "guitar" in bank[0].pack
        styles = ["strum", "strum", "arp"] if guitar else ["stab", "stab", "arp", "pad"]
        notes = chord_part(score, rng, center, str(rng.choice(styles)), plays)
    if role == "chords" and rng.random() < 0.25:
        # The left hand of a pianist: roots in the bass's register.
        notes += [
            Note(score.time(bar * 4.0), 3.6 * score.beat, score.degree(root, 43), 0.8)
            for bar, root in enumerate(score.chords)
            if plays[bar]
        ]
    perform(track, notes, play, rng, rate)
    if bank and "guitar" in bank[0].pack and rng.random() < 0.75:
        track = _amplifier(track, rng, rate)
    if studio.varied and role == "lead" and rng.random() < 0.3:
        # What the vocoder does to a sound must not tell a voice from an instrument.
        singer = draw_singer(rng, float(rng.uniform(-4, 4)))
        track = sing_again(track, [Take(singer, 1.0, 0.0)], rng, rate)
    return track


def _texture(studio: Studio, score: Score, rng: np.random.Generator) -> Audio:
    """Unpitched color: ambience samples, or noise risers at the turn of sections."""
    track = studio.silence()
    loose = [s for s in studio.samples("other") if s.midi is None]
    if loose and rng.random() < 0.5:
        sound = trim(studio.read(loose[int(rng.integers(len(loose)))]), studio.rate)
        for bar in range(0, score.bars, int(rng.choice([2, 4, 8]))):
            place(track, sound, score.time(bar * 4.0), 1.0, studio.rate)
        return track
    play, length = riser(studio.rate, rng), int(rng.choice([1, 2, 4]))
    for bar in range(8 - length, score.bars, 8):
        note = Note(score.time(bar * 4.0), length * 4 * score.beat, 60, 1.0)
        place(track, play(note, rng), note.start, 1.0, studio.rate)
    return track


def _arrangement(
    rng: np.random.Generator, roles: list[str], rest: float
) -> tuple[list[str], float]:
    """The parts of a varied song and how much they rest: sometimes sustained, sometimes sparse."""
    kind = weighted(rng, {"as it is": 5, "sustained": 3, "sparse": 2})
    if kind == "sustained":
        return ["pad", "pad", "lead"][: int(rng.integers(1, 4))], 0.0
    if kind == "sparse":
        return [str(rng.choice(["lead", "pad", "chords"]))], 0.6
    return roles, rest


def play_other(studio: Studio, score: Score, rng: np.random.Generator, rest: float) -> Audio:
    """The accompaniment ``(2, N)``: layers of different loudness, place and width."""
    roles = ["chords"]
    roles += [r for r, p in (("pad", 0.4), ("lead", 0.5), ("chords", 0.35)) if rng.random() < p]
    if studio.varied:
        roles, rest = _arrangement(rng, roles, rest)
    together = activity(rng, score.bars, rest)
    track = studio.silence()
    for i, role in enumerate(roles):
        own = activity(rng, score.bars, 0.35) if i else together
        plays = [a and b for a, b in zip(own, together, strict=True)]
        layer = _layer(studio, score, rng, role, plays)
        level = 10 ** (rng.uniform(-9, 0) / 20) / max(rms(layer), 1e-5) * 0.1
        wide = float(rng.uniform(0, 0.8)) if role != "pad" else 0.0
        layer = widen(layer, float(rng.uniform(0.6, 1.4)))
        track += layer * np.float32(level) * pan_gains(float(rng.uniform(-wide, wide)))
    if rng.random() < 0.25:
        layer = _texture(studio, score, rng)
        track += layer * np.float32(10 ** (rng.uniform(-20, -6) / 20) / max(rms(layer), 1e-3) * 0.1)
    return track
