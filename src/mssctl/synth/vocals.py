"""The vocal stem: sung phrases, syllables as melodies, spoken words; doubles and harmonies."""

from dataclasses import dataclass, replace

import numpy as np

from mssctl.audio.effects import fade, place, repitch, stretch
from mssctl.audio.filters import Audio
from mssctl.synth.material import Sample, grouped
from mssctl.synth.score import Note, Score, activity, melody, weighted
from mssctl.synth.studio import Studio, sampled, trim
from mssctl.synth.vocoder import Singer, draw_singer, draw_takes, sing_again
from mssctl.synth.voice import shift_formants, synthetic_singer

_KINDS = {"phrases": 0.64, "sung": 0.26, "talk": 0.1}  # how often each is drawn
_SUNG_AGAIN = 0.85  # part of the varied songs whose voice goes through the vocoder
_LONGEST = 12.0  # seconds of one phrase; longer files are cut


@dataclass(frozen=True)
class Voice:
    """Who sings in a song and how.

    Attributes:
        kind: ``phrases`` (with a tempo), ``sung`` (notes), ``talk`` or ``synthetic``.
        samples: the recordings of this voice.
        pitch: semitones its recordings are moved.
        tempo: how much faster its phrases are made.
        formants: factor of the formant frequencies, on top of what ``pitch`` does to them.
        bpm: tempo of a song in time with it, None when any will do.
        key: key of a song in tune with it (pitch class, is minor), None when any will do.
        singer: who sings the finished track again; None: nobody.
    """

    kind: str
    samples: tuple[Sample, ...]
    pitch: float
    tempo: float
    formants: float = 1.0
    bpm: float | None = None
    key: tuple[int, bool] | None = None
    singer: Singer | None = None


def _kind(sample: Sample) -> str:
    if sample.bpm:
        return "phrases"
    return "talk" if sample.midi is None else "sung"


def choose_voice(studio: Studio, rng: np.random.Generator) -> Voice:
    """Draw a voice; phrases are preferred, since real singing is what matters most."""
    kinds = grouped(studio.samples("vocals"), _kind)
    if not kinds:
        singer = draw_singer(rng, float(rng.uniform(-3, 3))) if studio.varied else None
        return Voice("synthetic", (), 0, 1, singer=singer)
    kind = weighted(rng, {kind: weight for kind, weight in _KINDS.items() if kind in kinds})
    singers = grouped(kinds[kind], lambda s: f"{s.pack} {s.key} {s.bpm}" if s.bpm else s.pack)
    samples = tuple(singers[weighted(rng, {who: len(own) ** 0.5 for who, own in singers.items()})])
    pitch = float(rng.choice([-10, -9, -7, -6, -5, -4, -3, -2, -1, 0, 0, 0, 1, 2, 3, 4]))
    formants, tempo = 1.0, 2 ** (pitch / 12)
    if pitch < -5 or rng.random() < 0.4:
        # Resampling moved the formants with the pitch: bring them to those of an adult's size.
        size = rng.uniform(0.78, 0.95) if pitch < -2 else rng.uniform(0.85, 1.2)
        formants = float(np.clip(size / 2 ** (pitch / 12), 0.72, 1.4))
    if rng.random() < 0.45:
        tempo = float(rng.uniform(0.8, 1.2))
    bpm, key = samples[0].bpm or 120.0, samples[0].key
    moved = None if key is None else ((key[0] + int(pitch)) % 12, key[1])
    singer = None
    if studio.varied and rng.random() < _SUNG_AGAIN:
        # The vocoder moves pitch and formants, and moves them better.
        singer, pitch, formants = draw_singer(rng, pitch), 0.0, 1.0
        tempo = float(rng.uniform(0.8, 1.2))
    voice = Voice(kind, samples, pitch, tempo, formants, singer=singer)
    return replace(voice, bpm=bpm * tempo, key=moved) if kind == "phrases" else voice


def _phrase(
    studio: Studio, sample: Sample, pitch: float, tempo: float, rng: np.random.Generator
) -> Audio:
    """A recording moved by ``pitch`` semitones and made ``tempo`` times faster."""
    audio = studio.read(sample)
    if audio.shape[1] > _LONGEST * studio.rate:
        length = int(_LONGEST * studio.rate)
        first = int(rng.integers(audio.shape[1] - length))
        audio = fade(audio[:, first : first + length], 0.02, 0.05, studio.rate)
    moved = repitch(audio, 2 ** (pitch / 12))
    return stretch(moved, audio.shape[1] / tempo / moved.shape[1], studio.rate)


def _sing_phrases(
    studio: Studio, score: Score, rng: np.random.Generator, voice: Voice, rest: float
) -> Audio:
    """Phrases one after the other on the bars, some repeated, with gaps between them."""
    track = studio.silence()
    count = int(rng.integers(3, 10))
    order = [voice.samples[int(i)] for i in rng.integers(len(voice.samples), size=count)]
    plays = activity(rng, score.bars, rest)
    talk = voice.kind == "talk"
    gap = float(rng.choice([0.5, 1, 1, 2])) * (2.0 if talk else 1.0)
    harmony = [float(rng.choice([3, 4, 5, 7, -5, 12, -12]))] if rng.random() < 0.2 else []
    if voice.singer is not None:
        harmony = []  # the vocoder follows one voice, and adds the others itself
    pitches = [voice.pitch + part for part in (0.0, *harmony)]
    made: dict[str, list[Audio]] = {}
    beat, index = float(rng.choice([0, 0, 2, 4])), 0
    while beat < score.bars * 4:
        if not plays[int(beat // 4)]:
            beat = (beat // 4 + 1) * 4
            continue
        sample = order[index % count]
        index += int(rng.random() < 0.8)
        if sample.name not in made:
            made[sample.name] = [_phrase(studio, sample, p, voice.tempo, rng) for p in pitches]
        loud = rng.uniform(0.7, 1.0)
        for i, take in enumerate(made[sample.name]):
            sound = trim(take, studio.rate) if talk else take
            place(track, sound, score.time(beat), loud * (0.5 if i else 1.0), studio.rate)
        length = made[sample.name][0].shape[1] / studio.rate / score.beat
        beat += np.ceil(max(length - 0.3, 0.5) / gap) * gap
        if rng.random() < 0.35:
            beat += float(rng.choice([1, 2, 4]))
    return track


def _sing_notes(
    studio: Studio, score: Score, rng: np.random.Generator, voice: Voice, rest: float
) -> Audio:
    """A melody of syllables, sampled or synthetic, sometimes in two or three parts."""
    track = studio.silence()
    low = bool(rng.random() < 0.5)
    play = sampled(studio, voice.samples, rng, reach=7.0) or synthetic_singer(rng, studio.rate, low)
    known = [sample.midi for sample in voice.samples if sample.midi is not None]
    center = float(np.median(known)) + voice.pitch if known else 50.0 if low else 64.0
    plays = activity(rng, score.bars, max(rest, 0.2))
    notes = melody(score, rng, center, float(rng.uniform(0.1, 0.5)), plays)
    alone = rng.random() < 0.7 or voice.singer is not None
    parts = [0] if alone else [0, int(rng.choice([2, 4, -3]))]
    for part in parts:
        for note in notes:
            pitch = note.midi + {0: 0, 2: 4, 4: 7, -3: -5}[part]
            if part and (pitch - score.root) % 12 not in score.scale:
                pitch -= 1
            # Sung notes reach into the next one: legato, as a voice does.
            sung = Note(note.start, note.seconds * 1.05 + 0.05, pitch, note.velocity)
            place(track, play(sung, rng), note.start, 0.6 if part else 1.0, studio.rate)
    return track


def double(track: Audio, rng: np.random.Generator, rate: int) -> Audio:
    """Add a second and third take left and right: copies whose timing and pitch wander."""
    n = track.shape[1]
    t = np.arange(n)
    mono = track.mean(axis=0)
    copies = []
    for _ in range(2):
        points = rng.uniform(0.008, 0.03, max(int(n / rate * 1.5), 2))
        delay = np.interp(t, np.linspace(0, n, points.size), points) * rate
        copies.append(np.interp(t - delay, t, mono))
    return np.asarray(track + rng.uniform(0.3, 0.8) * np.stack(copies), np.float32)


def play_vocals(
    studio: Studio, score: Score, rng: np.random.Generator, rest: float, voice: Voice
) -> Audio:
    """The vocal stem ``(2, N)``, dry but with doubles."""
    if voice.kind in ("phrases", "talk"):
        track = _sing_phrases(studio, score, rng, voice, rest)
    else:
        track = _sing_notes(studio, score, rng, voice, rest)
    if voice.singer is not None:
        track = sing_again(track, draw_takes(rng, voice.singer), rng, studio.rate)
    elif voice.formants != 1:
        # Most recordings are mono: then one channel is enough work.
        source = track[:1] if np.array_equal(track[0], track[1]) else track
        track = np.tile(shift_formants(source, voice.formants, studio.rate), (3 - len(source), 1))
    if rng.random() < 0.3:
        track = double(track, rng, studio.rate)
    return track
