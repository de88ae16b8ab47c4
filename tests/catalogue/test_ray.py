"""``--engine ray``: Ray restarts what dies, the worker makes of it one final row per song."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from catalogue.kill_shards import model_file, song_files
from mssctl.api import job as jobs
from mssctl.catalogue.job import read_job
from mssctl.catalogue.rows import read_rows
from mssctl.errors import ExitCode, MssctlError


def test_without_ray_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    model = model_file(tmp_path / "t.safetensors")
    jobs.make(tmp_path / "job", song_files(tmp_path / "songs", 1), name=str(model))
    with pytest.raises(MssctlError, match="not installed") as caught:
        jobs.run(tmp_path / "job", engine="ray")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def kill_workers(results: Path, kills: int) -> None:
    """End processes of actors that have begun a song."""
    killed: set[int] = set()
    while len(killed) < kills:
        time.sleep(0.2)
        working = {r["worker"] for r in read_rows(results) if r["status"] == "started"}
        for process in {int(worker.split("-")[-3]) for worker in working} - killed:
            os.kill(process, signal.SIGKILL)
            killed.add(process)
            break


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(not find_spec("ray"), reason="needs ray (mssctl[ray])")
def test_actors_that_are_killed_lose_nothing(tmp_path, monkeypatch):
    import ray

    source = str(Path(__file__).parents[2] / "src")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([source, os.environ.get("PYTHONPATH", "")]))
    job = tmp_path / "job"
    model = model_file(tmp_path / "t.safetensors")
    jobs.make(job, song_files(tmp_path / "songs", 40), name=str(model))
    ray.init(num_cpus=2, num_gpus=2, include_dashboard=False)
    killer = threading.Thread(target=kill_workers, args=(job / "results", 2), daemon=True)
    killer.start()
    try:
        assert jobs.run(job, engine="ray", attempts=10).songs == 40
    finally:
        ray.shutdown()
    assert not killer.is_alive()
    found = read_job(job)
    done = Counter(row["song"] for row in found.rows() if row["status"] == "done")
    assert set(done) == {song.id for song in found.songs()}
    assert jobs.status(job).done == 40
    assert all(found.outputs().row(found.place(song)) for song in found.songs())
    assert sum(row["status"] == "worker" for row in found.rows()) >= 3
