"""One training example: which pieces of which songs, and what is done to each stem.

Every choice comes from one random generator that depends on nothing but
``(seed, epoch, index)``, so that workers, their number and a resumed run do not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mssctl.config.schema import DataConfig, RunConfig
from mssctl.data.layouts import Song
from mssctl.data.segments import Audio, draw_start, level_db, read_into

_ReadAt = Callable[[int], float]  # read at a start frame; the level there in dB


class Mixer:
    """Draws examples from songs.

    A place is drawn in one song, and each stem is taken from there or, with probability
    ``remix``, from a place of its own in another song that has the stem. Places quieter than
    ``active_db`` are drawn again, and the loudest one tried is kept. Then each stem gets its
    gain, channel swap and polarity, and at most all but one are dropped.

    Args:
        songs: to draw from, each as likely as the others.
        config: of the run: stems, channels, segment length, seed, and the section ``data``.

    Attributes:
        shape: of an example, ``(S, C, N)``.
    """

    def __init__(self, songs: Sequence[Song], config: RunConfig) -> None:
        self.songs = tuple(songs)
        self.stems = config.audio.stems
        self.shape = (len(self.stems), config.audio.channels, config.training.segment_length)
        self.seed = config.training.seed
        self.config = config.data
        self.having = {stem: [song for song in songs if stem in song.stems] for stem in self.stems}

    def fill(self, out: Audio, epoch: int, index: int) -> None:
        """Write example ``index`` of ``epoch`` into ``out (S, C, N)``."""
        rng = np.random.Generator(
            np.random.Philox(np.random.SeedSequence([self.seed, epoch, index]))
        )
        apart = rng.random(len(self.stems)) < self.config.remix
        song = self.songs[rng.integers(len(self.songs))]
        if not apart.all():
            self._fill_together(out, song, np.flatnonzero(~apart), rng)
        for row in np.flatnonzero(apart):
            self._fill_apart(out[row], self.stems[row], song, rng)
        augment(out, rng, self.config)

    def example(self, epoch: int, index: int) -> Audio:
        """Example ``index`` of ``epoch``: ``(S, C, N)`` float32."""
        out = np.empty(self.shape, np.float32)
        self.fill(out, epoch, index)
        return out

    def _fill_together(
        self, out: Audio, song: Song, rows: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Fill ``rows`` from one place of ``song`` where at least one of them sounds."""

        def read_at(start: int) -> float:
            for row in rows:
                read_into(out[row], song.stems.get(self.stems[row]), start)
            return max(level_db(out[row]) for row in rows)

        self._settle(song.frames, read_at, rng)

    def _fill_apart(self, out: Audio, stem: str, song: Song, rng: np.random.Generator) -> None:
        """Fill one stem from a song other than ``song``, where there is one."""
        others = [other for other in self.having[stem] if other is not song] or self.having[stem]
        file = others[rng.integers(len(others))].stems[stem]

        def read_at(start: int) -> float:
            read_into(out, file, start)
            return level_db(out)

        self._settle(file.frames, read_at, rng)

    def _settle(self, frames: int, read_at: _ReadAt, rng: np.random.Generator) -> None:
        """Read at drawn places until one is loud enough; else at the loudest of them."""
        levels: dict[int, float] = {}
        for _ in range(1 + self.config.redraws):
            start = draw_start(rng, frames, self.shape[2])
            levels[start] = read_at(start)
            if levels[start] >= self.config.active_db:
                return
        loudest = max(levels, key=lambda place: levels[place])
        if loudest != start:
            read_at(loudest)


def augment(stems: Audio, rng: np.random.Generator, config: DataConfig) -> None:
    """Gain, channel swap, polarity and dropout per stem, in place: ``stems (S, C, N)``."""
    count = len(stems)
    gains = 10.0 ** (rng.uniform(*config.gain_db, size=count) / 20.0)
    gains[rng.random(count) < config.flip_polarity] *= -1.0
    swapped = rng.random(count) < config.swap_channels
    dropped = rng.random(count) < config.stem_dropout
    if dropped.all():
        dropped[rng.integers(count)] = False
    gains[dropped] = 0.0
    stems *= gains[:, None, None].astype(np.float32)
    for row in np.flatnonzero(swapped):
        stems[row] = stems[row, ::-1].copy()
