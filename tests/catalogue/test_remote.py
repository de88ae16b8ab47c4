"""Songs and outputs by URL: in memory, and on a local server that speaks S3."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from catalogue.kill_shards import model_file, song_files
from mssctl.api import job as jobs
from mssctl.catalogue.job import read_job
from mssctl.catalogue.stores import filesystem
from mssctl.errors import ExitCode, MssctlError


@pytest.fixture(params=["memory", "s3"])
def root(request, monkeypatch) -> Iterator[str]:
    """The URL of an empty place."""
    if request.param == "memory":
        yield f"memory://{request.node.name}"  # brackets are no pattern
        return
    server = pytest.importorskip("moto.server", reason="needs moto[server]")
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs")
    local = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    local.start()
    host, port = local.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("bucket")
    yield "s3://bucket/jobs"
    local.stop()


def test_a_job_by_url(root, tmp_path):
    files, place = filesystem(root)
    for path in song_files(tmp_path / "songs", 2):
        files.makedirs(f"{place}/in", exist_ok=True)
        files.put_file(str(path), f"{place}/in/{path.name}")
    files.pipe_file(f"{place}/in/notes.txt", b"no song")
    files.pipe_file(f"{place}/in/bad.wav", b"no song")
    model = model_file(tmp_path / "t.safetensors")
    job = tmp_path / "job"
    assert jobs.make(job, [f"{root}/in"], name=str(model), out=f"{root}/out").songs == 3
    result = jobs.run(job, device="cpu", attempts=1)
    assert (result.songs, len(result.failures)) == (2, 1)
    found = read_job(job)
    done = {found.place(song) for song in found.songs() if "bad" not in song.path}
    written = [path.partition("/out/")[2] for path in files.find(f"{place}/out")]
    assert {path.rpartition("/")[0] for path in written} == done
    assert all(found.outputs().row(one)["settings_hash"] == found.settings_hash for one in done)
    local = tmp_path / "local"
    jobs.make(local, [tmp_path / "songs"], name=str(model))
    jobs.run(local, device="cpu")
    sums = [
        sorted(o["sha256"] for o in row["outputs"].values())
        for folder in (job, local)
        for row in read_job(folder).rows()
        if row["status"] == "done"
    ]
    assert sorted(sums[:2]) == sorted(sums[2:])  # the same stems as from files
    for path in (job / "results").iterdir():
        path.unlink()
    jobs.run(job, device="cpu", attempts=1)
    assert sum(row["status"] == "started" for row in read_job(job).rows()) == 1  # bad.wav


def test_an_upload_that_fails_leaves_nothing(tmp_path, monkeypatch):
    files, place = filesystem("memory://broken")
    model, [song] = model_file(tmp_path / "t.safetensors"), song_files(tmp_path / "songs", 1)
    jobs.make(tmp_path / "job", [song], name=str(model), out="memory://broken/out")
    put = type(files).put_file

    def failing(self, local, remote, *rest, **more):
        if local.endswith("song.json"):
            raise OSError("gone")
        return put(self, local, remote, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(type(files), "put_file", failing)
        assert len(jobs.run(tmp_path / "job", device="cpu", attempts=1).failures) == 1
    assert files.find(place) == []
    jobs.retry(tmp_path / "job")
    assert jobs.run(tmp_path / "job", device="cpu").songs == 1


def test_a_url_that_nothing_reads(tmp_path):
    with pytest.raises(MssctlError) as caught:
        jobs.make(tmp_path / "job", ["gopher://host/song.wav"])
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert not (tmp_path / "job").exists()
