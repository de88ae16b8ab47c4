"""Laws of streaming resampling."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from mssctl.audio.resample import resample, resample_stream, resampled_length
from mssctl.errors import MssctlError

RATES = [(8_000, 44_100), (44_100, 8_000), (48_000, 44_100), (192_000, 44_100), (44_100, 88_200)]


@pytest.mark.parametrize(("source", "target"), RATES)
def test_a_stream_gives_the_same_samples_as_the_whole(source, target):
    for length, blocks in [(1, (1,)), (999, (1, 100)), (60_000, (997, 60_000))]:
        signal = torch.randn(2, length)
        expected = resample(signal, source, target)
        for block in blocks:
            parts = list(resample_stream(iter(signal.split(block, dim=-1)), source, target))
            torch.testing.assert_close(torch.cat(parts, dim=-1), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("source", "target"), RATES)
@pytest.mark.parametrize("length", [1, 2, 1_000, 4_411])
def test_the_way_back_has_at_least_the_length_of_the_way_in(source, target, length):
    there = resampled_length(length, source, target)
    assert resample(torch.zeros(1, length), source, target).shape[-1] == there
    assert resampled_length(there, target, source) >= length


def tone(hertz: float, rate: int) -> Tensor:
    time = torch.arange(rate, dtype=torch.float64) / rate
    return torch.sin(2 * math.pi * hertz * time).float()


def test_a_tone_keeps_frequency_phase_and_level():
    out = resample(tone(1_000, 48_000), 48_000, 44_100)
    torch.testing.assert_close(out[200:-200], tone(1_000, 44_100)[200:-200], atol=1e-5, rtol=0)


def test_a_tone_above_the_new_limit_is_gone():
    assert resample(tone(15_000, 48_000), 48_000, 22_050)[200:-200].abs().max() < 1e-5


def test_equal_rates_pass_the_samples_through():
    signal = torch.randn(1, 10)
    assert resample(signal, 44_100, 44_100) is signal
    assert next(resample_stream(iter([signal]), 44_100, 44_100)) is signal


def test_little_is_held():
    taken = 0

    def endless() -> Iterator[Tensor]:
        nonlocal taken
        while True:
            taken += 100
            yield torch.ones(1, 100)

    given = 0
    stream = resample_stream(endless(), 48_000, 44_100)
    while given < 100_000:
        given += next(stream).shape[-1]
        assert taken - given * 48_000 / 44_100 < 20_000


def test_an_empty_stream_gives_nothing():
    assert list(resample_stream(iter([]), 48_000, 44_100)) == []


def test_rates_without_a_common_divisor_are_refused():
    with pytest.raises(MssctlError, match="44101 Hz cannot be resampled"):
        resample(torch.zeros(1, 10), 44_101, 44_100)
