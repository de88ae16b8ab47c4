"""Batches come in one order, whatever loads them and wherever it starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mssctl.config.schema import AudioConfig, RunConfig, TrainingConfig
from mssctl.data.layouts import find_songs
from mssctl.data.loader import batches
from mssctl.data.mixing import Mixer
from mssctl.errors import MssctlError


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
