"""``mssctl job``: one final row per song, whatever ends a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from catalogue.kill_shards import model_file, song_files
from mssctl.api import job as jobs
from mssctl.catalogue import status as progress
from mssctl.catalogue.job import JobSong, levels_for, read_job
from mssctl.catalogue.rows import DONE, DROPPED, FAILED, STARTED, RowFile, read_rows
from mssctl.catalogue.worker import Worker
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return model_file(tmp_path_factory.mktemp("model") / "t.safetensors")


@pytest.fixture
def job(weights, tmp_path) -> Path:
    jobs.make(tmp_path / "job", song_files(tmp_path / "songs", 3), name=str(weights))
    return tmp_path / "job"


def statuses(job: Path) -> Counter[str]:
    return Counter(row["status"] for row in read_rows(job / "results"))


def test_a_job_is_run_once(job):
    first = jobs.run(job, device="cpu")
    assert (first.songs, first.failures) == (3, [])
    [song, *_] = read_job(job).songs()
    [row] = [r for r in read_rows(job / "results") if r["status"] == DONE and r["song"] == song.id]
    place = job / "stems" / row["place"]
    assert place.parent.name == song.id[:2]
    assert {path.name for path in place.iterdir()} == {*row["outputs"], "song.json"}
    assert row["input"]["size"] == song.size
    assert row["audio_seconds"] == 0.5
    assert (row["device"], row["attempt"]) == ("cpu", 1)
    before = {path: path.stat().st_mtime_ns for path in (job / "stems").rglob("*")}
    assert jobs.run(job, device="cpu").songs == 3
    assert {path: path.stat().st_mtime_ns for path in (job / "stems").rglob("*")} == before
    assert statuses(job)[STARTED] == 3


def test_outputs_without_a_row_are_found_and_damaged_ones_made_again(job):
    jobs.run(job, device="cpu")
    for path in (job / "results").iterdir():
        path.unlink()
    cut = next((job / "stems").rglob("*.wav"))
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-10])
    assert jobs.run(job, device="cpu").songs == 3
    assert statuses(job) == {"worker": 1, STARTED: 1, DONE: 3, "ended": 1}
    assert cut.read_bytes() == whole


def test_a_torn_last_line_is_not_a_row(job):
    jobs.run(job, device="cpu")
    [path] = (job / "results").iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]) + lines[-2][:20])  # killed within a done row
    assert jobs.status(job).done == 2
    assert jobs.run(job, device="cpu").songs == 3
    assert jobs.status(job).done == 3


def test_a_poison_song_is_set_aside_and_retried(job, weights, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    poisoned = tmp_path / "poisoned"
    jobs.make(poisoned, [bad, tmp_path / "songs"], name=str(weights))
    result = jobs.run(poisoned, device="cpu", attempts=2)
    assert (result.songs, len(result.failures)) == (3, 1)
    assert statuses(poisoned)[FAILED] == 2
    [aside] = jobs.status(poisoned).set_aside
    assert (aside.path, aside.error, aside.attempts) == (str(bad), "UnknownFormatError", 2)
    rows = len(read_rows(poisoned / "results"))
    jobs.run(poisoned, device="cpu", attempts=2)
    assert statuses(poisoned)[FAILED] == 2
    assert jobs.retry(poisoned).songs == 1
    bad.write_bytes(next((tmp_path / "songs").iterdir()).read_bytes())
    assert jobs.run(poisoned, device="cpu").songs == 4
    assert jobs.status(poisoned).set_aside == []
    assert len(read_rows(poisoned / "results")) > rows


def test_a_song_that_kills_its_process_counts(job, monkeypatch):
    [song, *_] = read_job(job).songs()
    killed = RowFile(job / "results")
    for attempt in (1, 2, 3):
        killed.append(STARTED, song=song.id, attempt=attempt)
    result = jobs.run(job, device="cpu", attempts=3)
    assert result.songs == 2
    [aside] = jobs.status(job).set_aside
    assert (aside.song, aside.error) == (song.id, "Killed")


def test_an_interrupt_drops_the_song_whole(job, monkeypatch):
    def interrupted(self, *rest):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_separate", interrupted)
        for _ in range(4):  # more than there are attempts
            with pytest.raises(KeyboardInterrupt):
                jobs.run(job, device="cpu")
    assert list((job / "stems").iterdir()) == []
    assert statuses(job)[DROPPED] == 4
    assert jobs.run(job, device="cpu").songs == 3


def test_another_model_or_other_settings_are_refused(job, weights, tmp_path):
    path = job / "job.json"
    text = path.read_text()
    values = json.loads(text)
    path.write_text(json.dumps(values | {"settings": values["settings"] | {"shifts": 2}}))
    with pytest.raises(MssctlError, match="settings") as caught:
        jobs.run(job, device="cpu")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    path.write_text(text)
    other = tmp_path / "other"
    jobs.make(other, [tmp_path / "songs"], name=str(weights), out=job / "stems", format="flac")
    jobs.run(job, device="cpu")
    with pytest.raises(MssctlError, match="another job") as caught:
        jobs.run(other, device="cpu")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    copy = tmp_path / "t.safetensors"
    copy.write_bytes(weights.read_bytes())
    third = tmp_path / "third"
    jobs.make(third, [tmp_path / "songs"], name=str(copy))
    copy.unlink()
    from mssctl.models import weights as files
    from mssctl.models.weights import load

    loaded = load(str(weights), "cpu")
    files.save(copy, loaded.separator, loaded.config, {"license": "other"})
    with pytest.raises(MssctlError, match="sha256") as caught:
        jobs.run(third, device="cpu")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.parametrize(
    "changes",
    [{"device": "cpu"}, {"existing": "skip"}, {"fail_fast": True}, {"filename": "{stem}"}],
)
def test_make_refuses_what_means_nothing(weights, tmp_path, changes):
    songs = song_files(tmp_path / "songs", 1)
    with pytest.raises(MssctlError, match=f"`{next(iter(changes))}`") as caught:
        jobs.make(tmp_path / "job", songs, name=str(weights), **changes)
    assert caught.value.exit_code == ExitCode.USAGE
    assert not (tmp_path / "job").exists()


def test_make_refuses_an_existing_job_and_songs_that_are_not_there(job, weights, tmp_path):
    with pytest.raises(MssctlError, match="exists already"):
        jobs.make(job, [tmp_path / "songs"], name=str(weights))
    with pytest.raises(MssctlError, match="nowhere"):
        jobs.make(tmp_path / "new", [tmp_path / "nowhere.wav"], name=str(weights))
    assert not (tmp_path / "new").exists()


def test_status_names_shares_that_never_reported_and_the_rate(job):
    shares = [int(song.id, 16) % 3 for song in read_job(job).songs()]
    smallest = min(range(3), key=shares.count)  # one of three songs at most; ids follow the path
    others = [share for share in range(3) if share != smallest]
    jobs.run(job, device="cpu", shard=f"{smallest}/3")
    found = jobs.status(job)
    assert found.missing_shards == [f"{share}/3" for share in others]
    assert (found.workers, found.songs_per_hour, found.eta_hours) == (0, None, None)
    pending = 3 - found.done
    assert pending >= 2
    song = next(one for one in read_job(job).songs() if int(one.id, 16) % 3 != smallest)
    working = RowFile(job / "results")
    working.append("worker", shard=f"{others[0]}/3", device="cpu", songs=2)
    start = read_job(job).rows()[-1]["time"]
    working.append(DONE, song=song.id, audio_seconds=1.0)
    now = progress.status(read_job(job), start + 36.0)
    assert now.workers == 1
    assert now.songs_per_hour == pytest.approx(100.0, rel=0.01)
    assert now.eta_hours == pytest.approx((pending - 1) / 100, rel=0.01)


def test_variables_of_a_scheduler_are_not_used_silently(job, monkeypatch):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    monkeypatch.setenv("JOB_COMPLETIONS", "2")
    seen = []
    assert jobs.run(job, device="cpu", report=seen.append).songs == 3
    assert any(isinstance(e, Notice) and "Kubernetes" in e.message for e in seen)
    seen.clear()
    jobs.run(job, device="cpu", shard="auto", report=seen.append)
    assert any("JOB_COMPLETION_INDEX=0" in e.message for e in seen if isinstance(e, Notice))


def test_folders_stay_small_and_names_plain(tmp_path, job):
    assert [levels_for(n) for n in (1, 1_280_000, 1_280_001)] == [1, 1, 2]
    found = read_job(job)
    strange = JobSong.of("s3://bucket/a/../{x}: \u00e9*?.tar.wav", None)
    assert found.place(strange) == f"{strange.id[:2]}/_x__ \u00e9__.tar-{strange.id}"
    long = found.place(JobSong.of(f"/{'a' * 300}.wav", None))
    assert len(long.encode()) < 255


def test_the_commands(job, mssctl):
    assert mssctl("job", "run", job, "-d", "cpu").exit_code == 0
    status = mssctl("job", "status", job, "--json")
    assert status.document["data"]["done"] == 3
    assert "3 of 3 songs" in mssctl("job", "status", job).stdout
    assert mssctl("job", "retry", job).exit_code == 0
    assert mssctl("job", "run", job, "--shard", "2/2").exit_code == 2
    assert mssctl("job", "status", job.parent).exit_code == 3


def test_one_process_per_device(job):
    source = Path(__file__).parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, "-m", "mssctl", "job", "run", str(job), "-d", "cpu,cpu"]
    subprocess.run(command, env=environment, check=True)
    shards = [row["shard"] for row in read_rows(job / "results") if row["status"] == "worker"]
    assert sorted(shards) == ["0/2", "1/2"]
    assert jobs.status(job).done == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("songs", "kills"), [(8, 1), pytest.param(200, 6, marks=pytest.mark.slow)])
def test_shards_that_are_killed_lose_nothing(tmp_path, songs, kills):
    source = Path(__file__).parents[2] / "src"
    script = [sys.executable, str(Path(__file__).with_name("kill_shards.py")), str(tmp_path)]
    subprocess.run(
        [*script, "--songs", str(songs), "--kills", str(kills)],
        env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=600,
    )
