"""Two processes that train together, against one: the same run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from mssctl import presets
from mssctl.errors import MssctlError
from mssctl.models.run_config import RunConfig
from mssctl.training.distributed import World, share_of

TOY = """
audio: {sample_rate: 8000, stems: [vocals, drums, bass, other]}
stft: {n_fft: 256, hop_length: 128}
model: {freqs_per_bands: [16, 16, 32, 65], n_layers: 1, emb_dim: 8, attention_dim: 8, n_heads: 2,
        ffn_hidden_dim: [8, 8], num_groups: 2, mask_expansion: 1, dropout: 0}
loss: {spectral_n_fft: [256]}
optimizer: {lr: 1e-3}
training: {num_epochs: 2, steps_per_epoch: 10, segment_length: 2048, batch_size: 2,
           gradient_accumulation_steps: 2, amp_dtype: float32, num_workers: 0,
           validate_songs: 1, keep_last: 9}
"""


FAULTY = str(Path(__file__).with_name("faults_in_one_process.py"))


@pytest.fixture
def toy(tmp_path, make_song) -> Path:
    for name in ("train/a", "train/b", "valid/c"):
        make_song(tmp_path / "data" / name, frames=8_000)
    (tmp_path / "toy.yaml").write_text(TOY)
    return tmp_path


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def mssctl(*arguments: str, processes: int = 1, faults: str = "") -> list[subprocess.Popen[str]]:
    """Start one process, or several as ``torchrun`` does."""
    port = free_port()
    started = []
    for rank in range(processes):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
        given = {name: str(value) for name, value in place.items()} if processes > 1 else {}
        env = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", **given}
        env["FAULTS"] = faults
        program = [FAULTY] if faults else ["-m", "mssctl"]
        command = [sys.executable, *program, *arguments, "--device", "cpu", "--json", "-q"]
        started.append(
            subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    return started


def run(*arguments: object, processes: int = 1, faults: str = "") -> list[str]:
    """What each process printed, once all have ended well."""
    started = mssctl(*map(str, arguments), processes=processes, faults=faults)
    printed = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * processes, printed
    return [out for out, _ in printed]


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "step"]


def weights(run: Path) -> dict[str, object]:
    return load_file(run / "checkpoints" / "step-00000020" / "model.safetensors")


@pytest.mark.parametrize("accumulation", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_two_processes_train_as_one_does_and_one_of_them_speaks(toy, accumulation):
    data = ("--data", toy / "data", "--set", f"training.gradient_accumulation_steps={accumulation}")
    run("train", toy / "toy.yaml", *data, "--out", toy / "one")
    first, second = run("train", toy / "toy.yaml", *data, "--out", toy / "two", processes=2)
    assert losses(toy / "two") == pytest.approx(losses(toy / "one"), rel=1e-5)
    assert len(losses(toy / "two")) == 20
    one, two = weights(toy / "one"), weights(toy / "two")
    assert all(two[name] == pytest.approx(one[name], abs=1e-5) for name in one)
    assert json.loads(first)["data"]["finished"]
    assert second == ""
    environment = json.loads((toy / "two" / "environment.json").read_text())
    assert environment["sessions"][0]["processes"] == 2


def test_two_processes_resume_to_the_same_losses_with_dropout(toy):
    data = ("--data", toy / "data", "--set", "model.dropout=0.1", "--set", "training.num_epochs=2")
    run("train", toy / "toy.yaml", *data, "--out", toy / "whole", processes=2)
    shutil.copytree(toy / "whole", toy / "part")
    newest = toy / "part" / "checkpoints" / "step-00000020"
    for path in newest.iterdir():  # as if killed before it was written
        path.unlink()
    newest.rmdir()
    run("resume", toy / "part", processes=2)
    assert losses(toy / "part") == losses(toy / "whole")
    one, two = weights(toy / "whole"), weights(toy / "part")
    assert all((two[name] == one[name]).all() for name in one)


@pytest.mark.slow
def test_memory_that_runs_out_in_one_process_halves_the_batch_of_all(toy):
    data = ("--data", toy / "data", "--set", "training.batch_size=4")
    run("train", toy / "toy.yaml", *data, "--out", toy / "whole", processes=2)
    # Of the ten losses in an epoch that each process computes, the fourth, in the step's middle.
    run("train", toy / "toy.yaml", *data, "--out", toy / "halved", processes=2, faults="4:oom")
    assert losses(toy / "halved") == pytest.approx(losses(toy / "whole"), rel=1e-5)
    config = presets.load(str(toy / "halved" / "config.yaml")).training
    assert (config.batch_size, config.gradient_accumulation_steps) == (2, 4)
    environment = json.loads((toy / "halved" / "environment.json").read_text())
    [entry] = environment["sessions"][0]["memory_ran_out"]
    assert (entry["step"], entry["batch_size"]) == (4, 2)


def test_memory_that_runs_out_after_the_gradients_are_exchanged_ends_all(toy):
    data = ("--data", str(toy / "data"), "--out", str(toy / "run"))
    started = mssctl("train", str(toy / "toy.yaml"), *data, processes=2, faults="3:late")
    first, second = (process.communicate(timeout=60)[1] for process in started)
    assert [process.returncode for process in started] == [3, 4]
    assert "another process of this run has ended" in first
    assert "memory ran out while the weights were updated" in second


def test_a_process_that_waits_for_the_others_ends_at_sigterm(toy):
    data = ("--data", str(toy / "data"), "--out", str(toy / "run"))
    port = free_port()
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": str(port)}
    env = {**os.environ, "MASTER_ADDR": "127.0.0.1", **place}
    command = [sys.executable, "-m", "mssctl", "train", str(toy / "toy.yaml"), *data]
    waiting = subprocess.Popen([*command, "--device", "cpu"], env=env)
    while waiting.poll() is None:  # the first process listens for the others while it waits
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.1)
    waiting.terminate()
    assert waiting.wait(timeout=10) == -signal.SIGTERM


def test_a_loss_that_is_nan_in_one_process_skips_the_step_of_all(toy):
    data = ("--data", toy / "data", "--set", "training.gradient_accumulation_steps=1")
    run("train", toy / "toy.yaml", *data, "--out", toy / "run", processes=2, faults="3:nan")
    assert losses(toy / "run")[2] is None
    assert sum(loss is None for loss in losses(toy / "run")) == 1


def test_an_error_in_one_process_ends_all_with_a_checkpoint(toy):
    data = ("--data", toy / "data", "--set", "data.remix=1")
    run("train", toy / "toy.yaml", *data, "--out", toy / "run", processes=2)
    checkpoints = toy / "run" / "checkpoints"
    for name in ("step-00000020",):
        for path in (checkpoints / name).iterdir():
            path.unlink()
        (checkpoints / name).rmdir()
    for path in (toy / "data" / "train" / "b").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    started = mssctl("resume", str(toy / "run"), processes=2)
    printed = [process.communicate(timeout=120) for process in started]
    assert all(process.returncode for process in started), printed


def test_where_one_process_is_killed_the_other_ends_and_says_so(toy):
    long = ("--set", "training.num_epochs=1000", "--set", "training.save_every_steps=1")
    data = ("--data", str(toy / "data"), "--out", str(toy / "run"))
    first, second = mssctl("train", str(toy / "toy.yaml"), *data, *long, processes=2)
    metrics = toy / "run" / "metrics.jsonl"
    while not (metrics.is_file() and metrics.read_text().count("\n") > 3):
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    second.kill()
    second.communicate()
    out, err = first.communicate(timeout=60)
    assert first.returncode == 3, err
    assert "another process of this run has ended" in out + err
    assert "Traceback" not in err
    assert list((toy / "run" / "checkpoints").glob("step-*"))
    assert not list((toy / "run" / "checkpoints").glob(".*"))


@pytest.mark.parametrize(
    ("batch", "accumulation", "size", "expected"),
    [(12, 1, 1, (12, 1)), (8, 2, 2, (8, 1)), (12, 1, 2, (6, 1)), (6, 2, 3, (4, 1)),
     (5, 4, 4, (5, 1)), (4, 6, 4, (3, 2))],
)  # fmt: skip
def test_each_process_takes_an_equal_part_of_the_same_step(batch, accumulation, size, expected):
    training = {"batch_size": batch, "gradient_accumulation_steps": accumulation}
    config = RunConfig.model_validate({"training": training})
    own = share_of(config, World(1, size)).training
    assert (own.batch_size, own.gradient_accumulation_steps) == expected


def test_what_cannot_be_divided_is_refused():
    config = RunConfig.model_validate({"training": {"batch_size": 3}})
    with pytest.raises(MssctlError, match="3 examples per step cannot be divided among 2"):
        share_of(config, World(0, 2))
