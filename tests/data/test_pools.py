"""How often each data root is drawn from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mssctl.data.pools import draw_pool, pools_of
from mssctl.data.songs import Song, StemFile

FILE = StemFile(Path("x.wav"), 1, 8_000, 2)


def song(name: str, root: int, *stems: str, loose: bool = False) -> Song:
    return Song(name, Path(name), dict.fromkeys(stems, FILE), root, loose)


SONGS = [song(f"a{number}", 0, "vocals", "drums") for number in range(3)] + [
    song("b", 1, "vocals", "drums")
]


def shares(weights: tuple[float, ...] | None) -> list[float]:
    pools, rng = pools_of(SONGS, weights), np.random.default_rng(0)
    drawn = Counter(draw_pool(pools, rng).songs[0].root for _ in range(4_000))
    return [drawn[root] / 4_000 for root in (0, 1)]


def test_without_weights_every_song_is_as_likely():
    assert shares(None) == pytest.approx([0.75, 0.25], abs=0.03)


def test_weights_are_the_shares_of_the_roots_whatever_they_hold():
    assert shares((1.0, 4.0)) == pytest.approx([0.2, 0.8], abs=0.03)


def test_a_root_of_samples_counts_by_its_best_supplied_stem():
    samples = [song(f"v{n}", 1, "vocals", loose=True) for n in range(5)]
    samples += [song("d", 1, "drums", loose=True)]
    assert [pool.weight for pool in pools_of([*SONGS[:3], *samples], None)] == [3, 5]


def test_one_root_costs_no_random_number():
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    assert draw_pool(pools_of(SONGS[:3], None), rng).songs == tuple(SONGS[:3])
    assert rng.bit_generator.state == state


def test_a_stem_from_elsewhere_comes_from_any_other_song_that_has_it():
    songs = [song("a", 0, "vocals"), song("b", 0, "drums"), song("c", 0, "drums"),
             song("d", 0, "drums")]  # fmt: skip
    (pool,), rng = pools_of(songs, None), np.random.default_rng(0)

    def names(besides: int | None, stem: str = "drums") -> set[str]:
        return {pool.draw_having(stem, rng, besides=besides).name for _ in range(100)}

    assert names(None) == {"b", "c", "d"}
    assert names(2) == {"b", "d"}
    assert names(0) == {"b", "c", "d"}  # it has no drums
    assert names(0, "vocals") == {"a"}  # there is no other
