"""What a command did not write for the same purpose, it does not replace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mssctl.api.bench import bench
from mssctl.api.models import export_model, import_model
from mssctl.api.plan import plan
from mssctl.benchmark.measure import profiled
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import FileSet
from mssctl.models import weights
from mssctl.models.run_config import RunConfig
from mssctl.planning import command as plan_command

Write = Callable[[Path], object]


def _profile(path: Path) -> object:
    return profiled(lambda: torch.ones(1) + 1, torch.device("cpu"), path)


WRITERS: dict[str, Write] = {
    "models export": lambda path: export_model("starter", path),
    "plan --write": lambda path: plan_command.write(path, RunConfig()),
    "bench --profile": lambda path: bench("starter", device="cpu", profile=path),
    "a trace": _profile,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_what_is_there_keeps_its_bytes(tmp_path, name, kind):
    path = tmp_path / "x.safetensors"
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    else:
        path.write_text("mine")
    before = path.lstat()
    with pytest.raises(MssctlError, match=r"x\.safetensors: exists already") as caught:
        WRITERS[name](path)
    assert caught.value.exit_code == ExitCode.USAGE
    assert path.lstat() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["models export", "plan --write", "a trace"])
def test_what_appears_during_the_work_is_kept(tmp_path, name, monkeypatch):
    path = tmp_path / "x.safetensors"
    publish = FileSet.publish

    def late(files: FileSet) -> None:
        path.write_text("mine")
        publish(files)

    monkeypatch.setattr(FileSet, "publish", late)
    with pytest.raises(MssctlError, match="appeared during the work"):
        WRITERS[name](path)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_is_replaced_only_by_its_own_run(tmp_path):
    loaded = weights.load("starter", torch.device("cpu"))
    path = tmp_path / "best.safetensors"
    weights.save(path, loaded.separator, loaded.config, {})
    with pytest.raises(MssctlError, match="exists already"):
        weights.save(path, loaded.separator, loaded.config, {})
    weights.save(path, loaded.separator, loaded.config, {"step": "2"}, overwrite=True)
    assert weights.load(str(path), torch.device("cpu")).card == {"step": "2"}


@pytest.mark.parametrize(
    "name", ["models export", "models import", "plan --write", "bench --profile"]
)
@pytest.mark.parametrize("place", ["no folder", "file", "broken link", "long name"])
def test_where_nothing_can_be_written_shows_before_any_work(tmp_path, monkeypatch, name, place):
    commands: dict[str, Write] = {
        "models export": lambda path: export_model("starter", path),
        "models import": lambda path: import_model(tmp_path / "x.ckpt", path),
        "plan --write": lambda path: plan("starter", vram=8, write=path),
        "bench --profile": lambda path: bench("starter", device="cpu", profile=path),
    }
    monkeypatch.setattr(weights, "load", lambda *_: pytest.fail("weights were loaded"))
    monkeypatch.setattr("mssctl.planning.request.target", lambda *_: pytest.fail("planned"))
    monkeypatch.setattr("mssctl.api.bench.work_of", lambda *_: pytest.fail("measured"))
    if place == "file":
        (tmp_path / "a").write_text("mine")
    elif place == "broken link":
        (tmp_path / "a").symlink_to("nowhere")
    stem = "x" * 300 if place == "long name" else "a/x"
    with pytest.raises(MssctlError) as caught:
        commands[name](tmp_path / f"{stem}.safetensors")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert len(list(tmp_path.iterdir())) == (place in ("file", "broken link"))
