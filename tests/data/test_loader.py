"""Batches come in one order, whatever loads them and wherever it starts."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from itertools import islice
from multiprocessing import forkserver

import numpy as np
import pytest
import torch

from mssctl.config.schema import AudioConfig, TrainingConfig
from mssctl.data import ahead, loader
from mssctl.data.ahead import batch_bytes, batches_ahead
from mssctl.data.loader import batches
from mssctl.data.mixing import Mixer
from mssctl.data.training_set import find_songs
from mssctl.errors import ExitCode, MssctlError
from mssctl.models.run_config import RunConfig


def config(workers: int = 0) -> RunConfig:
    return RunConfig(
        audio=AudioConfig(sample_rate=8_000),
        training=TrainingConfig(
            segment_length=4096,
            batch_size=2,
            steps_per_epoch=2,
            gradient_accumulation_steps=2,
            num_workers=workers,
            prefetch_factor=2,
        ),
    )


@pytest.fixture
def mixer(tmp_path, make_song):
    for name in ("train/a", "train/b", "valid/c"):
        make_song(tmp_path / name)
    return Mixer(find_songs([tmp_path], AudioConfig(sample_rate=8_000)).train, config())


def load(mixer: Mixer, first: int, end: int, workers: int = 0) -> list[torch.Tensor]:
    return list(batches(mixer, config(workers).training, first=first, end=end))


def test_a_batch_stacks_consecutive_examples_of_its_epoch(mixer):
    for number, batch in enumerate(load(mixer, 0, 6)):
        epoch, place = divmod(number, 4)
        assert batch.shape == (2, 4, 2, 4096)
        assert batch.dtype == torch.float32
        for row in range(2):
            expected = mixer.example(epoch, 2 * place + row)
            np.testing.assert_array_equal(batch[row].numpy(), expected)


def test_what_waits_in_shared_memory_is_bounded_in_bytes():
    audio = AudioConfig(stems=("vocals",), channels=1)

    def ahead_of(mebibytes: int, workers: int = 8) -> int:
        length = 2**18  # 1 MiB of one stem, in mono
        training = TrainingConfig(num_workers=workers, batch_size=mebibytes, segment_length=length)
        assert batch_bytes(training, audio) == mebibytes * 2**20
        return batches_ahead(training, audio)

    assert [ahead_of(mebibytes) for mebibytes in (1, 100, 169, 2**12)] == [4, 2, 1, 1]
    assert ahead_of(1, workers=0) == 0


def test_the_loader_keeps_to_the_bound(mixer, monkeypatch):
    asked = []
    monkeypatch.setattr(loader, "_Loader", lambda *_, **given: asked.append(given) or [])
    monkeypatch.setattr(ahead, "READY", 2 * (2 * 4 * 2 * 4096 * 4))  # a batch of each of two
    load(mixer, 0, 4, workers=2)
    assert asked[0]["prefetch_factor"] == 1


def test_workers_and_the_place_to_start_change_nothing(mixer):
    whole = load(mixer, 0, 6)
    for part in (load(mixer, 2, 6), load(mixer, 2, 6, workers=2)):
        assert all(torch.equal(a, b) for a, b in zip(whole[2:], part, strict=True))


def test_loading_leaves_the_global_random_numbers_alone(mixer):
    before = torch.get_rng_state()
    load(mixer, 0, 2)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_audio_is_an_error_that_names_the_file(mixer, workers):
    for song in mixer.songs:
        song.stems["drums"].path.write_bytes(b"garbage")
    with pytest.raises(MssctlError, match=r"drums\.wav"):
        load(mixer, 0, 4, workers)


def test_a_killed_worker_is_an_error_that_says_so(mixer):
    stream = batches(mixer, config(1).training, first=0, end=1000)
    next(stream)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(MssctlError, match="a data worker process was killed") as caught:
        list(stream)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_a_signal_to_all_processes_of_a_run_ends_neither_workers_nor_who_starts_them(mixer):
    stream = batches(mixer, config(1).training, first=0, end=1000)
    next(stream)
    server = forkserver._forkserver._forkserver_pid
    (worker,) = multiprocessing.active_children()
    for pid in (server, worker.pid):
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    assert len(list(islice(stream, 50))) == 50
    assert os.waitpid(server, os.WNOHANG) == (0, 0)  # still running
    stream.close()


TRAINER = """
import sys, time
from pathlib import Path
from mssctl.config.schema import AudioConfig, TrainingConfig
from mssctl.models.run_config import RunConfig
from mssctl.data.training_set import find_songs
from mssctl.data.loader import batches
from mssctl.data.mixing import Mixer

if __name__ == "__main__":
    audio = AudioConfig(sample_rate=8_000)
    training = TrainingConfig(segment_length=4096, num_workers=1)
    mixer = Mixer(find_songs([Path(sys.argv[1])], audio).train,
                  RunConfig(audio=audio, training=training))
    for _ in batches(mixer, training, first=0, end=10**9):
        print("reading", flush=True)
        time.sleep(60)
"""


def test_workers_end_when_the_process_that_trains_is_killed(mixer, tmp_path):
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE) as trainer:
        assert trainer.stdout.readline() == b"reading\n"
        trainer.kill()
        trainer.communicate(timeout=60)  # until the last process that holds the pipe has ended
