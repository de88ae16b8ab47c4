"""What is done to the stems of an example before they are mixed: which effects, how strong.

Effects with a probability of 0 draw nothing and touch no sample. The target of a model is the stem
after its effects, and the mixture is the sum of these: it stays so in every effect.
"""

import math

import numpy as np

from mssctl.audio import effects
from mssctl.audio.filters import Band, equalize
from mssctl.config.schema import AudioConfig, DataConfig
from mssctl.data.augment import codec
from mssctl.data.augment.tempo import stretch
from mssctl.data.draws import Draws
from mssctl.data.segments import Audio

# Each band of the equalizer: its kind, and where its frequency is drawn from, in Hz.
EQ_BANDS = (("low", 60.0, 300.0), ("peak", 300.0, 5_000.0), ("high", 4_000.0, 12_000.0))


class Warp:
    """Pitch and tempo of what is read from one place: the same for all its stems.

    Attributes:
        frames: to read so that ``wanted`` are left.
    """

    def __init__(self, rng: np.random.Generator, config: DataConfig, wanted: int) -> None:
        pitched, timed = rng.random(2) < (config.pitch, config.tempo)
        semitones, tempo = rng.uniform(*config.pitch_semitones), rng.uniform(*config.tempo_ratio)
        self.semitones = float(semitones) if pitched else 0.0
        self.tempo = float(tempo) if timed else 1.0
        self.wanted = wanted
        self.frames = math.ceil(wanted * self.tempo)

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.semitones != 0.0 or self.tempo != 1.0

    def __call__(self, audio: Audio, sample_rate: int) -> Audio:
        """``(C, frames)`` -> ``(C, wanted)``; silence stays silence."""
        if not audio.any():
            return audio[:, :1].repeat(self.wanted, axis=1)
        return stretch(
            audio, sample_rate, semitones=self.semitones, tempo=self.tempo, frames=self.wanted
        )


def augment(stems: Audio, draws: Draws, config: DataConfig, audio: AudioConfig) -> None:
    """Change the stems of one example in place: ``stems (S, C, N)``."""
    for row in range(len(stems)):
        _shape(stems, row, draws, config, audio.sample_rate)
    _level(stems, draws, config)
    if config.mono and draws.of("mono").random() < config.mono:
        stems[:] = stems.mean(axis=1, keepdims=True)
    if config.codec:
        rng = draws.of("codec")
        if rng.random() < config.codec:
            strength = rng.uniform(*config.codec_db), rng.uniform(*config.codec_hz)
            stems[:] = codec.code(stems, audio.sample_rate, *strength)


def _shape(stems: Audio, row: int, draws: Draws, config: DataConfig, sample_rate: int) -> None:
    """Equalizer, compressor, soft clipping and reverb of one stem, each or none."""
    stem = stems[row]
    if not stem.any():
        return
    if config.eq and _wants(rng := draws.of("eq", row), config.eq):
        low, high = np.log([band[1:] for band in EQ_BANDS]).T
        frequencies = np.exp(rng.uniform(low, high))
        gains = rng.uniform(*config.eq_db, size=len(frequencies))
        bands = [
            Band(kind, hertz, gain, q=0.5**0.5)
            for (kind, _, _), hertz, gain in zip(EQ_BANDS, frequencies, gains, strict=True)
        ]
        stem[:] = equalize(stem, bands, sample_rate)
    if config.compress and _wants(rng := draws.of("compress", row), config.compress):
        stem[:] = effects.compress_level(stem, sample_rate, rng.uniform(*config.compress_ratio))
    if config.clip and _wants(rng := draws.of("clip", row), config.clip):
        stem[:] = effects.drive(stem, rng.uniform(*config.clip_db))
    if config.reverb and _wants(rng := draws.of("reverb", row), config.reverb):
        seconds, level = rng.uniform(*config.reverb_seconds), rng.uniform(*config.reverb_db)
        stem[:] = effects.reverberate(stem, sample_rate, seconds, level, rng)


def _wants(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def _level(stems: Audio, draws: Draws, config: DataConfig) -> None:
    """Gain, polarity, channel swap and dropout per stem."""
    rng, count = draws.places, len(stems)
    gains = 10.0 ** (rng.uniform(*config.gain_db, size=count) / 20.0)
    if config.gain < 1.0:
        gains[draws.of("gain").random(count) >= config.gain] = 1.0
    gains[rng.random(count) < config.flip_polarity] *= -1.0
    swapped = rng.random(count) < config.swap_channels
    dropped = rng.random(count) < config.stem_dropout
    if dropped.all():
        dropped[rng.integers(count)] = False
    gains[dropped] = 0.0
    stems *= gains[:, None, None].astype(np.float32)
    for row in np.flatnonzero(swapped):
        stems[row] = stems[row, ::-1].copy()
