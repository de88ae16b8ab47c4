"""``--shard``: every song in exactly one share, and variables that are clear or refused."""

from __future__ import annotations

import pytest

from mssctl.catalogue.job import JobSong
from mssctl.catalogue.shard import parse_shard, unused_variables
from mssctl.errors import ExitCode, MssctlError


def slurm(index: int, first: int, step: int, count: int) -> dict[str, str]:
    names = ("ID", "MIN", "STEP", "COUNT")
    values = (index, first, step, count)
    return {f"SLURM_ARRAY_TASK_{n}": str(v) for n, v in zip(names, values, strict=True)}


KUBERNETES = {"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "4"}
TORCHRUN = {"RANK": "0", "WORLD_SIZE": "2"}


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_song_is_in_one_share(count):
    songs = [JobSong.of(f"/song {number}", None).id for number in range(500)]
    shards = [parse_shard(f"{index}/{count}") for index in range(count)]
    assert all(sum(shard.has(song) for shard in shards) == 1 for song in songs)
    parts = [part.part(index, 3) for part in shards for index in range(3)]
    assert all(sum(part.has(song) for part in parts) == 1 for song in songs)
    assert all(shards[0].has(s) == any(p.has(s) for p in parts[:3]) for s in songs)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (slurm(7, 1, 2, 5), "3/5"),
        (slurm(0, 0, 1, 1), "0/1"),
        (KUBERNETES, "2/4"),
        (TORCHRUN, "0/2"),
    ],
)
def test_auto_reads_one_family(environment, expected):
    shard = parse_shard("auto", environment)
    assert str(shard) == expected
    assert all(f"{key}={value}" in shard.source for key, value in environment.items())
    assert unused_variables(environment) == shard.source.partition(":")[0]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {**KUBERNETES, **TORCHRUN},
        {"RANK": "0"},
        {"WORLD_SIZE": "2"},
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "one", "WORLD_SIZE": "2"},
        slurm(2, 1, 2, 5),
        slurm(0, 1, 1, 5),
        slurm(11, 1, 2, 5),
        slurm(1, 1, 0, 5),
        {"SLURM_ARRAY_TASK_ID": "1"},
    ],
)
def test_auto_refuses_what_is_not_clear(environment):
    with pytest.raises(MssctlError) as caught:
        parse_shard("auto", environment)
    assert caught.value.exit_code == ExitCode.USAGE
    assert all(key in caught.value.message for key in environment) or len(environment) == 4


@pytest.mark.parametrize("text", ["1", "2/2", "-1/2", "0/0", "a/b", "1/2/3", ""])
def test_a_share_is_from_0_to_n_less_1(text):
    with pytest.raises(MssctlError) as caught:
        parse_shard(text)
    assert caught.value.exit_code == ExitCode.USAGE
