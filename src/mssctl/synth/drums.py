"""The drum stem: one kit per song, patterns of several genres, fills, loops, synthetic hits."""

import itertools
import re

import numpy as np

from mssctl.audio.effects import Curve, fade, pan_gains, place, repitch
from mssctl.audio.filters import Audio, Band, convolve, equalizer
from mssctl.synth.material import Sample, grouped
from mssctl.synth.score import Score, activity, weighted
from mssctl.synth.studio import Studio, trim

# Order matters: the first pattern found in the file name decides.
_ROLES = {
    "loop": r"loop|arovane_beat|drum_roll",
    "open": r"hi?-?hat.*(open|semi|swish)|open.?hi?hat|(^|_)oh\d|hat.?o(pen)?\b|hhopen",
    "hat": r"hi?-?hat|hihat|(^|_)(hat|hh|ch)|closed",
    "clap": r"clap|snap",
    "kick": r"kick|(^|_)bd|bass.?drum|drum_bass",
    "rim": r"side.?stick|rim|stick|clave",
    "snare": r"snare|(^|_)s[nd]([_\d-]|$)|snr",
    "ride": r"ride",
    "crash": r"crash|cymb|splash|china|paiste|(^|_)cy\d",
    "tom": r"tom|timbal",
}
_ROLE_PATTERNS = {role: re.compile(text, re.IGNORECASE) for role, text in _ROLES.items()}
# Sixteenths of one bar: a digit is how likely and how loud, a dot is nothing.
_PATTERNS: dict[str, dict[str, str]] = {
    "house": {"kick": "9...9...9...9...", "clap": "....9.......9...", "open": "..8...8...8...8.",
              "hat": "6.3.6.3.6.3.6.35", "perc": "..2..3....2..4.."},
    "techno": {"kick": "9...9...9...9..2", "hat": "5757575757575757", "open": "..9...9...9...9.",
               "clap": "....5.......5...", "perc": ".3..3.3..3..3.3."},
    "rock": {"kick": "9.....2.9.4.....", "snare": "....9.......9...", "hat": "9.6.9.6.9.6.9.6.",
             "open": "..............3."},
    "rock2": {"kick": "9..4..5.8..5....", "snare": "....9.......9..1", "ride": "9.5.9.5.9.5.9.5."},
    "half": {"kick": "9.....3...5.....", "snare": "........9.......", "hat": "7.4.7.4.7.4.7.4."},
    "trap": {"kick": "9......6..4..5..", "clap": "........9.......", "snare": "........5.....1.",
             "hat": "8585878587858988", "open": "......3.......2."},
    "breaks": {"kick": "9.9.......98....", "snare": "....9..4.4..9..4", "hat": "9.7.9.7.9.7.9.7.",
               "ride": "................"},
    "jungle": {"kick": "9.....5...9...3.", "snare": "....9..5.6..9.4.", "hat": "9393939393939393"},
    "funk": {"kick": "9..4..7...8..2..", "snare": "....9..3.2.39..4", "hat": "9575957595759575",
             "open": ".......3.......4"},
    "boombap": {"kick": "9......48.5.....", "snare": "....9.......9..2", "hat": "8.6.8.6.8.6.8.6."},
    "latin": {"kick": "9..69..69..69..6", "rim": "9..9..9...9.9...", "perc": "7476747674767476",
              "hat": "3.9.3.9.3.9.3.9."},
    "ballad": {"kick": "9.......7.......", "rim": "....9.......9...", "ride": "8...6...8...6..."},
    "toms": {"kick": "9..9..9...9.9...", "tom": "7.57.5.7.57.5.75", "snare": "....8.......8..."},
    "disco": {"kick": "9...9...9...9...", "snare": "....9.......9...", "hat": "7.5.7.5.7.5.7.5.",
              "open": "..9...9...9...9.", "perc": "3434343434343434"},
}  # fmt: skip
_LEVELS = {"kick": 1.0, "snare": 0.85, "clap": 0.6, "rim": 0.5, "hat": 0.3, "open": 0.33,
           "ride": 0.32, "crash": 0.5, "tom": 0.7, "perc": 0.4}  # fmt: skip

_KICK_SECONDS = (0.08, 0.2)

Kit = dict[str, list[Audio]]


def role_of(sample: Sample) -> str:
    """What a drum sample is, by its file name; ``perc`` when the name says nothing known."""
    words = sample.path.stem
    # Machine packs put the machine's name first ("LM-2__snare"): it must not decide.
    words = words.split("__", 1)[1] if "__" in words else words
    words = re.sub(r"^\d+-", "", words)
    return next((role for role, p in _ROLE_PATTERNS.items() if p.search(words)), "perc")


def _family(sample: Sample) -> str:
    machine, separator, _ = sample.path.stem.partition("__")
    return f"{sample.pack}/{machine if separator else ''}"


def _velocities(samples: list[Sample], rng: np.random.Generator) -> list[Sample]:
    """One drum of several, as its velocity layers soft to loud (names that end in a digit)."""
    drums = grouped(samples, lambda s: re.sub(r"[-_]?\d$", "", s.name.rsplit(".", 1)[0]))
    return drums[list(drums)[int(rng.integers(len(drums)))]]


def build_kit(studio: Studio, rng: np.random.Generator) -> Kit:
    """Choose or synthesize the sounds of a kit: per role, layers from soft to loud."""
    rate = studio.rate
    samples = [s for s in studio.samples("drums") if role_of(s) != "loop"]
    by_role, families = grouped(samples, role_of), grouped(samples, _family)
    kit: Kit = {}
    if families:
        # Families weigh by the roles they offer, so that whole kits come before oddities.
        weights = {name: len({*map(role_of, kin)}) ** 1.5 for name, kin in families.items()}
        family = families[weighted(rng, weights)]
        for role in _LEVELS:
            own = [s for s in family if role_of(s) == role]
            pool = own if own and rng.random() < 0.85 else by_role.get(role, [])
            if pool:
                tuning = 2 ** (rng.normal(0, 2.0 if role in ("kick", "snare", "tom") else 1.2) / 12)
                layers = [trim(studio.read(s), rate) for s in _velocities(pool, rng)]
                # At most 3 s of a ringing cymbal.
                short = [fade(layer[:, : 3 * rate], 0, 0.02, rate) for layer in layers]
                kit[role] = [repitch(layer, float(tuning)) for layer in short]
    if "kick" in kit:
        seconds = float(rng.uniform(*_KICK_SECONDS))
        kit["kick"] = [_damped(hit, seconds, rate) for hit in kit["kick"]]
    for role in _LEVELS:
        if role not in kit:
            kit[role] = [synthetic_hit(role, rng, rate)]
        elif role in ("kick", "snare", "hat", "clap") and rng.random() < 0.15:
            made = synthetic_hit(role, rng, rate)
            kit[role] = [_layer(a, made, float(rng.uniform(0.3, 1))) for a in kit[role]]
    return kit


def _damped(kick: Audio, seconds: float, rate: int) -> Audio:
    """A kick whose low tone has gone after ``seconds``; a kick that is short stays as it is.

    A drum machine's kick can ring at 50 Hz for a second. Tuned, that is a bass, and in songs it
    mostly is one (`mssctl.synth.bass`): a model cannot tell two stems apart by the same tone.
    """
    start = int(np.abs(kick).max(axis=0).argmax()) + int(0.02 * rate)
    gain = np.exp(-np.maximum(np.arange(kick.shape[1]) - start, 0) / (seconds / 3 * rate))
    return (kick * gain).astype(np.float32)


def _layer(a: Audio, b: Audio, amount: float) -> Audio:
    out = np.zeros((max(len(a), len(b)), max(a.shape[1], b.shape[1])), np.float32)
    out[:, : a.shape[1]] += a
    out[:, : b.shape[1]] += np.float32(amount) * b
    return out


def synthetic_hit(role: str, rng: np.random.Generator, rate: int) -> Audio:
    """One drum sound ``(1, n)`` made of a swept sine and filtered noise, peak 1."""
    length = {"crash": 1.6, "ride": 0.9, "open": 0.45, "hat": 0.09, "kick": 0.5, "tom": 0.5}
    n = int(length.get(role, 0.3) * rate * rng.uniform(0.7, 1.3))
    t = np.arange(n, dtype=np.float64) / rate
    if role in ("kick", "tom", "perc"):
        sound = _membrane(role, t, rng, rate)
    elif role in ("snare", "rim", "clap"):
        sound = _rattle(role, t, rng, rate)
    else:
        sound = _metal(t, rng, rate)
    return fade(sound / np.abs(sound).max(), 0, 0.005, rate)


def _membrane(role: str, t: Curve, rng: np.random.Generator, rate: int) -> Audio:
    """A sine that falls to the drum's pitch, and the click of the stick."""
    ranges = {"kick": (42, 62), "tom": (80, 180), "perc": (200, 900)}
    hz = rng.uniform(*ranges[role]) * (1 + rng.uniform(1, 5) * np.exp(-t / rng.uniform(0.01, 0.04)))
    sound = np.sin(2 * np.pi * np.cumsum(hz) / rate) * np.exp(-t / rng.uniform(0.08, 0.25))
    click = rng.standard_normal(t.size) * np.exp(-t / 0.004)
    return np.asarray(sound + rng.uniform(0.02, 0.2) * click, np.float32)[None]


def _rattle(role: str, t: Curve, rng: np.random.Generator, rate: int) -> Audio:
    """A short tone and band noise: snare, rim shot, hand clap."""
    body, ring = {"snare": (0.6, 0.09), "rim": (0.9, 0.02), "clap": (0.0, 1.0)}[role]
    hz = rng.uniform(160, 260) * (3 if role == "rim" else 1)
    tone = body * np.sin(2 * np.pi * hz * t) * np.exp(-t / ring)
    shape = np.exp(-t / (0.008 if role == "rim" else rng.uniform(0.06, 0.16)))
    if role == "clap":
        # Several hands: three bursts before the tail.
        hands = [np.exp(-np.abs(t - delay) / 0.004) for delay in (0.004, 0.014, 0.026)]
        shape = 0.7 * shape + np.sum(hands, axis=0)
    bands = [Band("highpass", rng.uniform(500, 1500)), Band("peak", rng.uniform(1500, 5000), 6)]
    noise = np.asarray(rng.standard_normal(t.size) * shape, np.float32)[None]
    return np.asarray(tone + convolve(noise, _taps(bands, rate)), np.float32)


def _metal(t: Curve, rng: np.random.Generator, rate: int) -> Audio:
    """Bright noise and six square waves that share no harmonics: hats and cymbals."""
    squares = [np.sign(np.sin(2 * np.pi * hz * t)) for hz in rng.uniform(2000, 9000, 6)]
    mix = rng.standard_normal(t.size) + rng.uniform(0, 0.5) * np.sum(squares, axis=0)
    taps = _taps([Band("highpass", rng.uniform(5000, 9000))], rate)
    bright = convolve(np.asarray(mix, np.float32)[None], taps)
    return np.asarray(bright * np.exp(-t / (t[-1] / 4)), np.float32)


def _taps(bands: list[Band], rate: int) -> Audio:
    return equalizer(bands, rate)[None, :1024]


def play_drums(studio: Studio, score: Score, rng: np.random.Generator, rest: float) -> Audio:
    """The drum stem ``(2, N)``: a loop, a kit, or both."""
    track = studio.silence()
    loops = [s for s in studio.samples("drums") if role_of(s) == "loop"]
    looped = bool(loops) and rng.random() < 0.22
    plays = activity(rng, score.bars, rest)
    if looped:
        _play_loop(studio, track, loops[int(rng.integers(len(loops)))], score, plays)
    if not looped or rng.random() < 0.4:
        _play_kit(studio, track, score, rng, plays)
    return track


def _play_loop(studio: Studio, track: Audio, loop: Sample, score: Score, plays: list[bool]) -> None:
    """Repeat a loop fitted to 2, 4, 8 or 16 beats by resampling."""
    audio = studio.read(loop)
    seconds = audio.shape[1] / studio.rate
    beats = min((1, 2, 4, 8, 16), key=lambda b: abs(np.log2(b * score.beat / seconds)))
    fitted = repitch(audio, seconds / (beats * score.beat)) * np.float32(0.7)
    for bar in np.arange(0.0, score.bars, beats / 4):
        if plays[int(bar)]:
            place(track, fitted, score.time(bar * 4), 1.0, studio.rate)


def _play_kit(
    studio: Studio, track: Audio, score: Score, rng: np.random.Generator, plays: list[bool]
) -> None:
    """Play patterns bar by bar: fixed per section, a fill or crash where sections change."""
    kit, rate = build_kit(studio, rng), studio.rate
    name = list(_PATTERNS)[int(rng.integers(len(_PATTERNS)))]
    pattern = dict(_PATTERNS[name])
    if rng.random() < 0.3:
        other = _PATTERNS[list(_PATTERNS)[int(rng.integers(len(_PATTERNS)))]]
        pattern |= {role: line for role, line in other.items() if rng.random() < 0.5}
    drop = [r for r in pattern if r not in ("kick", "snare") and rng.random() < 0.2]
    loudness = {r: _LEVELS[r] * 10 ** (rng.normal(0, 2.5) / 20) for r in _LEVELS}
    wide = rng.uniform(0, 0.7)
    pans = {r: pan_gains(0.0 if r == "kick" else float(rng.uniform(-wide, wide))) for r in _LEVELS}
    human, flat = float(rng.choice([0.0, 0.003, 0.008])), float(rng.uniform(0, 1))
    hits = {r: _draw(line, rng) for r, line in pattern.items() if r not in drop}
    for bar in itertools.compress(range(score.bars), plays):
        if bar % 8 == 0 and bar:
            hits = {r: _draw(line, rng) for r, line in pattern.items() if r not in drop}
        bar_hits = dict(hits)
        if bar % 4 == 3 and rng.random() < 0.5:
            bar_hits |= _fill(rng)
        if bar % 8 == 0 and rng.random() < 0.5:
            bar_hits["crash"] = [(0.0, 0.9)]
        for role, line in bar_hits.items():
            for beat, velocity in line:
                when = score.time(bar * 4 + beat) + (rng.normal(0, human) if human else 0)
                force = flat + (1 - flat) * velocity * rng.uniform(0.8, 1.1)
                layers = kit[role]
                layer = layers[min(int(min(force, 0.999) * len(layers)), len(layers) - 1)]
                place(track, layer, when, pans[role] * np.float32(loudness[role] * force), rate)


def _draw(line: str, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Turn a pattern into (beat, velocity) hits, leaving out some of the weak ones."""
    hits = []
    for i, mark in enumerate(line):
        strength = int(mark) / 9 if mark.isdigit() else 0.0
        if strength and rng.random() < 0.35 + 0.75 * strength:
            hits.append((i / 4, strength))
            if strength > 0.85 and line.count("8") > 4 and rng.random() < 0.1:
                hits.append((i / 4 + 0.125, strength * 0.8))
    return hits


def _fill(rng: np.random.Generator) -> dict[str, list[tuple[float, float]]]:
    """The last one or two beats of a bar: snare or tom sixteenths that grow louder."""
    first = float(rng.choice([2.0, 3.0, 3.0]))
    slots = [first + i * 0.25 for i in range(int((4 - first) * 4)) if rng.random() < 0.8]
    role = str(rng.choice(["snare", "tom"]))
    return {role: [(slot, 0.5 + 0.45 * i / len(slots)) for i, slot in enumerate(slots)]}
