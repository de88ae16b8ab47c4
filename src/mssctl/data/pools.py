"""The songs of each data root, and how often a root is drawn from."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from mssctl.data.songs import Song


class Pool:
    """The songs of one root.

    Attributes:
        songs: each as likely as the others.
        having: stem -> the numbers of the songs that have it.
        weight: how often it is drawn from, relative to the other pools.
    """

    def __init__(self, songs: Sequence[Song], weight: float | None) -> None:
        self.songs = tuple(songs)
        self.having: dict[str, list[int]] = {}
        for number, song in enumerate(songs):
            for stem in song.stems:
                self.having.setdefault(stem, []).append(number)
        # A root of samples counts by one of its stems: it has a "song" for each sample.
        self.weight = max(map(len, self.having.values())) if weight is None else weight

    def draw(self, rng: np.random.Generator) -> int:
        """The number of a song."""
        return int(rng.integers(len(self.songs)))

    def draw_having(self, stem: str, rng: np.random.Generator, *, besides: int | None) -> Song:
        """A song that has ``stem``, and is not number ``besides`` where there is another one."""
        having = self.having[stem]
        place = None if besides is None else bisect_left(having, besides)
        if place is None or having[place : place + 1] != [besides] or len(having) == 1:
            return self.songs[having[rng.integers(len(having))]]
        drawn = int(rng.integers(len(having) - 1))
        return self.songs[having[drawn + (drawn >= place)]]


def pools_of(songs: Sequence[Song], weights: Sequence[float] | None) -> list[Pool]:
    """Sort songs by their root.

    Args:
        songs: of all roots.
        weights: of the roots, or None for as much as each has songs.
    """
    by_root: dict[int, list[Song]] = {}
    for song in songs:
        by_root.setdefault(song.root, []).append(song)
    return [Pool(members, weights[root] if weights else None) for root, members in by_root.items()]


def draw_pool(pools: Sequence[Pool], rng: np.random.Generator) -> Pool:
    """One of the pools by weight; draws nothing where there is no choice."""
    if len(pools) == 1:
        return pools[0]
    shares = np.cumsum([pool.weight for pool in pools])
    return pools[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))]
