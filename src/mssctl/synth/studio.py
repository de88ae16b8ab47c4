"""The studio of one song: samples at hand, what was used, and sampled instruments."""

import re
from collections.abc import Sequence

import numpy as np

from mssctl.audio.effects import fade, read_at
from mssctl.audio.filters import Audio
from mssctl.synth.instruments import Instrument
from mssctl.synth.material import Library, Sample, SampleReader, grouped
from mssctl.synth.score import Note, in_octaves

# Sounds of the hand or the key, not notes.
_NOT_NOTES = re.compile(r"release|_rel_|scrape|ghost|bkg|harmonic|pedal", re.IGNORECASE)
# What tells takes of one articulation apart: note names, dynamics, round robins, counters.
_TAKE = re.compile(
    r"(?<![a-z])([a-g][#b]?-?\d([pmf]{1,2})?|rr\d+|p+|m[pf]|f+|up|down|p?[a-d]|\d+)(?![a-z])",
    re.IGNORECASE,
)


class Studio:
    """Samples for one song, and a record of those used.

    Args:
        library: the samples to draw from; empty for synthesis only.
        reader: decodes them.
        seconds: length of the song.
        varied: sing recordings again as other voices, and arrange and mix as
            `mssctl.synth.ensemble` and `mssctl.synth.mix` say.
    """

    def __init__(
        self, library: Library, reader: SampleReader, seconds: float, *, varied: bool = False
    ) -> None:
        """Open the studio with nothing used yet."""
        self.library = library
        self.reader = reader
        self.rate = reader.sample_rate
        self.seconds = seconds
        self.varied = varied
        self.used: dict[str, set[str]] = {}

    def samples(self, kind: str) -> list[Sample]:
        """The samples of a class."""
        return list(self.library.get(kind, ()))

    def read(self, sample: Sample) -> Audio:
        """The audio ``(C, N)`` of a sample; its use is recorded."""
        self.used.setdefault(sample.kind, set()).add(sample.name)
        return self.reader.read(sample)

    def silence(self) -> Audio:
        """An empty track ``(2, N)``."""
        return np.zeros((2, round(self.seconds * self.rate)), np.float32)


def trim(audio: Audio, rate: int) -> Audio:
    """Cut the silence before the first sound, leaving 2 ms."""
    loud = np.abs(audio).max(axis=0) > 0.02
    first = int(np.argmax(loud)) if loud.any() else 0
    return audio[:, max(first - rate // 500, 0) :]


def banks(samples: list[Sample]) -> dict[str, list[Sample]]:
    """Group notes by pack and articulation; small groups are joined per pack."""
    notes = [sample for sample in samples if not _NOT_NOTES.search(sample.name)]
    joined: dict[str, list[Sample]] = {}
    for name, group in grouped(notes, _articulation).items():
        pitches = {round(s.midi) for s in group if s.midi is not None}
        joined.setdefault(name if len(pitches) >= 5 else name.split("/")[0], []).extend(group)
    return joined


def _articulation(sample: Sample) -> str:
    word = _TAKE.sub("", sample.path.stem.replace("_", " ")).lower()
    return f"{sample.pack}/{' '.join(word.split())}"


def choose_bank(samples: list[Sample], rng: np.random.Generator) -> list[Sample]:
    """One bank: first a pack, then an articulation, so that large packs do not crowd out others."""
    packs: dict[str, list[list[Sample]]] = {}
    for name, group in banks(samples).items():
        packs.setdefault(name.split("/")[0], []).append(group)
    if not packs:
        return []
    choices = packs[list(packs)[int(rng.integers(len(packs)))]]
    return choices[int(rng.integers(len(choices)))]


def sampled(
    studio: Studio, bank: Sequence[Sample], rng: np.random.Generator, reach: float = 4.0
) -> Instrument | None:
    """An instrument that plays the nearest samples of a bank, resampled.

    Args:
        studio: where the samples are read.
        bank: the samples; those of unknown pitch are measured (at most 24 of them).
        rng: draws the timbre: dynamics, release, vibrato.
        reach: semitones a sample may be moved; notes beyond it move by octaves.

    Returns:
        The instrument, or None when no sample of the bank has a pitch.
    """
    order = [bank[i] for i in rng.permutation(len(bank))]
    known = [s for s in order if s.midi is not None] or order[:24]
    pitched = [(p, s) for s in known if (p := studio.reader.pitch(s)) is not None]
    if not pitched:
        return None
    pitches = np.array([pitch for pitch, _ in pitched])
    release, cents = rng.uniform(0.03, 0.25), rng.uniform(0, 8)
    bend = float(rng.uniform(10, 40)) if rng.random() < 0.2 else 0.0
    rate = studio.rate

    def play(note: Note, rng: np.random.Generator) -> Audio:
        wanted = in_octaves(note.midi, pitches.min() - reach, pitches.max() + reach)
        distance = np.abs(pitches - wanted)
        near = np.flatnonzero(distance <= max(float(distance.min()) + 0.6, 1.2))
        pitch, sample = pitched[int(rng.choice(near))]
        audio = trim(studio.read(sample), rate)
        n = min(int((note.seconds + release) * rate), int(audio.shape[1]))
        speed = 2 ** ((wanted - pitch + rng.normal(0, cents) / 100) / 12)
        where = np.arange(n, dtype=np.float64) * speed
        if bend:
            t = np.arange(n) / rate
            where += np.sin(2 * np.pi * 5.2 * t) * np.minimum(t, 0.5) * bend * rate / 60000
        where = where[: int(np.searchsorted(where, audio.shape[1]))]
        sound = read_at(audio, where) * np.float32(note.velocity)
        return fade(sound, 0, min(release, sound.shape[1] / rate / 2), rate)

    return play
