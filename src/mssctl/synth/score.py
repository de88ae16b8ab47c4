"""The musical plan of a generated song: tempo, key, chords, and the notes made from them."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
# Scale degrees of one chord per bar.
_PROGRESSIONS = {
    True: (
        (0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 6), (0, 0, 5, 6), (0, 3, 6, 2), (0, 0, 0, 0),
        (0, 0, 3, 3), (0, 5, 3, 4), (5, 6, 0, 0), (0, 2, 3, 6), (3, 4, 0, 0), (0, 6, 0, 6),
    ),
    False: (
        (0, 4, 5, 3), (0, 3, 4, 3), (5, 3, 0, 4), (0, 5, 3, 4), (1, 4, 0, 0), (0, 0, 3, 3),
        (0, 5, 1, 4), (0, 0, 0, 0), (0, 2, 3, 4), (3, 0, 4, 5), (0, 3, 0, 4), (3, 4, 2, 5),
    ),
}  # fmt: skip


class Note(NamedTuple):
    """One note: start and length in seconds, MIDI pitch, velocity 0-1."""

    start: float
    seconds: float
    midi: float
    velocity: float


@dataclass(frozen=True)
class Score:
    """Tempo, key and chords of a song, or of one stem when the stems are unrelated.

    Attributes:
        bpm: beats (quarter notes) per minute.
        root: pitch class of the tonic, 0 is C.
        minor: whether the scale is minor-like.
        scale: semitones of the seven degrees.
        chords: per bar, the scale degree of the chord's root.
        sevenths: chords have four notes.
        swing: delay of every second sixteenth, as a part of a sixteenth.
        seconds: length of the song.
    """

    bpm: float
    root: int
    minor: bool
    scale: tuple[int, ...]
    chords: tuple[int, ...]
    sevenths: bool
    swing: float
    seconds: float

    @property
    def bars(self) -> int:
        """Bars of four beats, the last one may be cut by the end of the song."""
        return len(self.chords)

    @property
    def beat(self) -> float:
        """Seconds per beat."""
        return 60 / self.bpm

    def time(self, beats: float) -> float:
        """Seconds at a position in beats, with swing on the off-sixteenths."""
        late = self.swing * 0.25 if round(beats * 4) % 2 and (beats * 4).is_integer() else 0.0
        return (beats + late) * self.beat

    def degree(self, degree: int, near: float) -> float:
        """The MIDI pitch of a scale degree (any integer), in the octave around ``near``."""
        octave, step = divmod(degree, 7)
        pitch = self.root + self.scale[step] + 12 * octave
        base = round((near - self.root - 6) / 12) * 12
        return float(pitch + base)

    def tones(self, bar: int) -> list[int]:
        """The scale degrees of a bar's chord, root first."""
        first = self.chords[bar % self.bars]
        return [first + step for step in ((0, 2, 4, 6) if self.sevenths else (0, 2, 4))]

    def voicing(self, bar: int, center: float) -> list[float]:
        """The chord of a bar as MIDI pitches, each in the octave nearest to ``center``."""
        pitches = [self.degree(tone, center) for tone in self.tones(bar)]
        return sorted(p - 12 * round((p - center) / 12) for p in pitches)


def write_score(
    rng: np.random.Generator,
    seconds: float,
    bpm: float | None = None,
    key: tuple[int, bool] | None = None,
) -> Score:
    """Draw a score; ``bpm`` and ``key`` (pitch class, is minor) are drawn unless given."""
    if bpm is None:
        bpm = float(rng.choice([rng.uniform(65, 100), rng.uniform(95, 132), rng.uniform(120, 178)]))
    root, minor = key if key is not None else (int(rng.integers(12)), bool(rng.random() < 0.6))
    modes = ("minor", "dorian") if minor else ("major", "mixolydian")
    scale = _SCALES[modes[int(rng.random() < 0.2)]]
    bars = max(int(np.ceil(seconds / (240 / bpm))), 1)
    lists = _PROGRESSIONS[minor]
    verse, chorus = (lists[int(rng.integers(len(lists)))] for _ in range(2))
    slow = 2 if rng.random() < 0.25 else 1
    chords = tuple((chorus if (bar // 8) % 2 else verse)[(bar // slow) % 4] for bar in range(bars))
    swing = float(rng.uniform(0.1, 0.6)) if rng.random() < 0.25 else 0.0
    return Score(bpm, root, minor, scale, chords, bool(rng.random() < 0.35), swing, seconds)


def in_octaves(pitch: float, lowest: float, highest: float) -> float:
    """The pitch, moved by octaves until it is not above ``highest``, then not below ``lowest``."""
    while pitch > highest:
        pitch -= 12
    while pitch < lowest:
        pitch += 12
    return pitch


def weighted(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """Draw one of the names."""
    shares = np.array(list(weights.values()))
    return list(weights)[int(rng.choice(len(weights), p=shares / shares.sum()))]


def activity(rng: np.random.Generator, bars: int, rest: float) -> list[bool]:
    """Which bars a part plays in: sections of 2-8 bars, each silent with probability ``rest``.

    A draw with less than a third of the bars is not worth a stem: the part plays throughout.
    """
    plays: list[bool] = []
    while len(plays) < bars:
        plays += [bool(rng.random() >= rest)] * int(rng.choice([2, 4, 4, 8]))
    return plays[:bars] if sum(plays[:bars]) * 3 >= bars else [True] * bars


def rhythm(rng: np.random.Generator, density: float) -> list[tuple[float, float]]:
    """One bar of (start, length) in beats on a sixteenth grid; density 0-1 is notes per slot."""
    weights = np.array([1.0, 0.25, 0.55, 0.3] * 4) * (0.35 + 1.3 * density)
    slots = [i for i in range(16) if rng.random() < weights[i] * (0.9 if i else 1.0)] or [0]
    ends = [*slots[1:], 16]
    hold = rng.uniform(0.5, 1.0)
    return [(a / 4, max((b - a) / 4 * hold, 0.12)) for a, b in zip(slots, ends, strict=True)]


def melody(
    score: Score, rng: np.random.Generator, center: float, density: float, plays: list[bool]
) -> list[Note]:
    """A line of scale notes: a two-bar motif that returns, follows the chords and varies."""
    motif = [rhythm(rng, density) for _ in range(2)]
    steps = [[int(rng.choice([-2, -1, -1, 0, 1, 1, 2, 3])) for _ in bar] for bar in motif]
    notes = []
    for bar in itertools.compress(range(score.bars), plays):
        if rng.random() < 0.2:
            motif[bar % 2] = rhythm(rng, density)
            steps[bar % 2] = [int(rng.choice([-3, -1, 0, 1, 2])) for _ in motif[bar % 2]]
        degree = int(rng.choice(score.tones(bar)))
        for (start, length), step in zip(motif[bar % 2], steps[bar % 2], strict=True):
            pitch = score.degree(degree, center)
            pitch -= 12 * round((pitch - center) / 14)
            notes.append(
                Note(score.time(bar * 4 + start), length * score.beat, pitch, rng.uniform(0.6, 1))
            )
            degree += step
    return notes


def chord_part(
    score: Score, rng: np.random.Generator, center: float, style: str, plays: list[bool]
) -> list[Note]:
    """Chords as ``pad`` (held), ``stab`` (rhythmic), ``strum`` or ``arp`` (one note at a time)."""
    beats = rhythm(rng, rng.uniform(0.2, 0.9))
    spread = float(rng.uniform(0.008, 0.03)) if style == "strum" else 0.0
    order = rng.permutation(16)
    step = float(rng.choice([0.25, 0.25, 0.5]))
    notes = []
    for bar in itertools.compress(range(score.bars), plays):
        pitches = score.voicing(bar, center)
        if style == "pad":
            notes += [Note(score.time(bar * 4.0), 4 * score.beat * 1.02, p, 0.8) for p in pitches]
        elif style == "arp":
            ladder = [*pitches, *(p + 12 for p in pitches)]
            for i in range(int(4 / step)):
                pitch = ladder[int(order[i % 16]) % len(ladder)]
                when = score.time(bar * 4 + i * step)
                notes.append(Note(when, step * score.beat * 1.1, pitch, rng.uniform(0.5, 1)))
        else:
            for start, length in beats:
                up = bool(rng.random() < 0.4)
                loud = rng.uniform(0.6, 1)
                for i, pitch in enumerate(reversed(pitches) if up else pitches):
                    when = score.time(bar * 4 + start) + i * spread
                    notes.append(Note(when, length * score.beat, pitch, loud))
    return notes
