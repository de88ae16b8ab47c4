"""One training example: which pieces of which songs, and what is done to each stem.

Every choice comes from random generators that depend on nothing but ``(seed, epoch, index)``, so
that workers, their number and a resumed run do not matter.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mssctl.data.augment import Warp, augment
from mssctl.data.augment.tempo import require
from mssctl.data.draws import Draws
from mssctl.data.pools import Pool, draw_pool, pools_of
from mssctl.data.segments import Audio, draw_start, level_db, read_into
from mssctl.data.songs import Song, StemFile
from mssctl.models.run_config import RunConfig

_Files = Mapping[int, StemFile | None]  # number of a stem -> its file


class Mixer:
    """Draws examples from songs.

    A root is drawn by its weight and a song of it, each as likely as the others; with ``balanced``,
    a stem before that, and then among the roots and songs that have it. A place is drawn
    in that song, and each stem is taken from there or, with probability ``remix``, from a place of
    its own in another song that has the stem. All stems of samples are taken apart. Places quieter
    than ``active_db`` are drawn again, and the loudest one tried is kept. Then come the effects,
    see `mssctl.data.augment`.

    Args:
        songs: to draw from.
        config: of the run: stems, channels, segment length, seed, and the section ``data``.

    Attributes:
        shape: of an example, ``(S, C, N)``.

    Raises:
        MssctlError: an effect needs a package that is not installed.
    """

    def __init__(self, songs: Sequence[Song], config: RunConfig) -> None:
        if config.data.pitch or config.data.tempo:
            require()
        self.songs = tuple(songs)
        self.audio = config.audio
        self.stems = config.audio.stems
        self.shape = (len(self.stems), config.audio.channels, config.training.segment_length)
        self.seed = config.training.seed
        self.config = config.data
        self.pools = pools_of(self.songs, config.data.weights)

    def fill(self, out: Audio, epoch: int, index: int) -> None:
        """Write example ``index`` of ``epoch`` into ``out (S, C, N)``."""
        draws = Draws(self.seed, epoch, index)
        rng = draws.places
        apart = rng.random(len(self.stems)) < self.config.remix
        pool, number = self._draw_song(rng)
        song = pool.songs[number]
        if song.loose:
            apart[:] = True
        if not apart.all():
            self._fill_together(out, song, np.flatnonzero(~apart).tolist(), draws)
        for row in np.flatnonzero(apart).tolist():
            self._fill_apart(out, row, pool, number, draws)
        augment(out, draws, self.config, self.audio)

    def _draw_song(self, rng: np.random.Generator) -> tuple[Pool, int]:
        """A pool, and the number of a song in it."""
        if not self.config.balanced:
            pool = draw_pool(self.pools, rng)
            return pool, pool.draw(rng)
        stem = self.stems[rng.integers(len(self.stems))]
        pool = draw_pool([pool for pool in self.pools if stem in pool.having], rng)
        having = pool.having[stem]
        return pool, having[int(rng.integers(len(having)))]

    def example(self, epoch: int, index: int) -> Audio:
        """Example ``index`` of ``epoch``: ``(S, C, N)`` float32."""
        out = np.empty(self.shape, np.float32)
        self.fill(out, epoch, index)
        return out

    def _fill_together(self, out: Audio, song: Song, rows: Sequence[int], draws: Draws) -> None:
        """Fill ``rows`` from one place of ``song``."""
        files = {row: song.stems.get(self.stems[row]) for row in rows}
        self._fill_from(out, files, song.frames, draws, place=0)

    def _fill_apart(self, out: Audio, row: int, first: Pool, number: int, draws: Draws) -> None:
        """Fill one stem from a song other than ``number`` of ``first``, where there is one."""
        stem, rng = self.stems[row], draws.places
        pool = draw_pool([pool for pool in self.pools if stem in pool.having], rng)
        besides = number if pool is first else None
        file = pool.draw_having(stem, rng, besides=besides).stems[stem]
        self._fill_from(out, {row: file}, file.frames, draws, place=1 + row)

    def _fill_from(
        self, out: Audio, files: _Files, frames: int, draws: Draws, *, place: int
    ) -> None:
        """Fill the rows in ``files`` from one place, with one pitch and tempo for all of them."""
        config, (_, channels, length) = self.config, self.shape
        if config.pitch or config.tempo:
            warp = Warp(draws.of("warp", place), config, length)
            if warp.changes:
                pieces = {row: np.empty((channels, warp.frames), np.float32) for row in files}
                self._settle(pieces, files, frames, draws.places)
                for row, piece in pieces.items():
                    out[row] = warp(piece, self.audio.sample_rate)
                return
        self._settle({row: out[row] for row in files}, files, frames, draws.places)

    def _settle(
        self, pieces: dict[int, Audio], files: _Files, frames: int, rng: np.random.Generator
    ) -> None:
        """Read at drawn places until one stem is loud enough; else at the loudest of them."""
        length = next(iter(pieces.values())).shape[1]

        def read_at(start: int) -> float:
            for row, piece in pieces.items():
                read_into(piece, files[row], start)
            return max(map(level_db, pieces.values()))

        levels: dict[int, float] = {}
        for _ in range(1 + self.config.redraws):
            start = draw_start(rng, frames, length)
            levels[start] = read_at(start)
            if levels[start] >= self.config.active_db:
                return
        loudest = max(levels, key=lambda place: levels[place])
        if loudest != start:
            read_at(loudest)
