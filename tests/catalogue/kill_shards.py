"""Kill the two shards of a job with SIGKILL at random moments, start each again, look at the end.

Run as ``python tests/catalogue/kill_shards.py FOLDER --songs 200 --kills 6 --seed 0``.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
import torch

from mssctl.api import job as jobs
from mssctl.catalogue.job import read_job
from mssctl.catalogue.rows import DONE, STARTED, WORKER
from mssctl.models import weights
from mssctl.models.build import build
from mssctl.models.registry import ARCHITECTURES
from mssctl.models.run_config import parse

RATE, FRAMES = 8_000, 4_000


def model_file(path: Path) -> Path:
    """The tiny model of an architecture, with random weights."""
    torch.manual_seed(0)
    tiny = ARCHITECTURES["tf_locoformer"].tiny
    config = parse({"training": {"segment_length": 2048}, **tiny}, "tiny")
    weights.save(path, build(config), config, {})
    return path


def song_files(folder: Path, count: int) -> list[Path]:
    """Short songs of noise, no two alike."""
    folder.mkdir()
    paths = []
    for number in range(count):
        noise = np.random.default_rng(number).uniform(-0.3, 0.3, (FRAMES, 2))
        paths.append(folder / f"song {number}.wav")
        soundfile.write(paths[-1], noise, RATE)
    return paths


def child(work) -> int:
    """The id of a process that does ``work`` and ends."""
    if process := os.fork():
        return process
    work()
    os._exit(0)


def supervise(job: Path, shard: str, kills: int, seed: str) -> None:
    """Work through a share; the first ``kills`` starts are killed."""
    rng = random.Random(seed)
    for start in range(kills + 1):
        worker = child(lambda: jobs.run(job, shard=shard, device="cpu", attempts=100))
        if start < kills:
            pattern = f"*-{worker}-*.jsonl"
            while not any(p.stat().st_size for p in (job / "results").glob(pattern)):
                time.sleep(0.002)
            time.sleep(rng.uniform(0.0, 1.0))
            os.kill(worker, signal.SIGKILL)
        _, status = os.waitpid(worker, 0)
    if os.waitstatus_to_exitcode(status):
        os._exit(1)


def check(job: Path, songs: int, starts: int) -> str:
    """Every song has one final row, its outputs are complete, and nothing else is left."""
    found, status = read_job(job), jobs.status(job)
    rows = found.rows()
    assert (status.songs, status.done, status.set_aside) == (songs, songs, []), status
    store = found.outputs()
    folders = [found.place(song) for song in found.songs()]
    assert len(set(folders)) == songs
    assert all(store.row(place)["settings_hash"] == found.settings_hash for place in folders)
    files = [path for path in (job / "stems").rglob("*") if path.is_file()]
    assert len(files) == sum(len(store.row(place)["outputs"]) + 1 for place in folders)
    assert not list(job.rglob(".*")), "something half-written is left"
    count = Counter(row["status"] for row in rows)
    assert count[WORKER] == starts
    lost = count[STARTED] - sum(row["status"] == DONE for row in rows)
    return f"{songs} songs, {count[WORKER]} starts, {lost} songs lost to a kill, {dict(count)}"


def main(folder: Path, songs: int, kills: int, seed: int) -> None:
    """Make a job, kill its shards, check it."""
    torch.set_num_threads(1)
    job = folder / "job"
    jobs.make(
        job, song_files(folder / "songs", songs), name=str(model_file(folder / "t.safetensors"))
    )
    shards = [f"{index}/2" for index in range(2)]
    children = [child(lambda s=s: supervise(job, s, kills, f"{seed} {s}")) for s in shards]
    codes = [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children]
    assert codes == [0, 0], codes
    print(check(job, songs, 2 * (kills + 1)))  # noqa: T201


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--songs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.folder, given.songs, given.kills, given.seed)
