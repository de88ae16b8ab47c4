"""Streams of blocks are brought into step."""

from __future__ import annotations

import pytest
import torch

from mssctl.audio.streams import in_step


def test_blocks_of_equal_length_that_hold_the_same_samples():
    signal = torch.arange(100)
    pairs = list(in_step(iter(signal.split(7)), iter((signal * 2).split(11))))
    assert all(a.shape == b.shape for a, b in pairs)
    assert torch.equal(torch.cat([a for a, _ in pairs]), signal)
    assert torch.equal(torch.cat([b for _, b in pairs]), signal * 2)


def test_the_first_stream_ends_it():
    pairs = list(in_step(iter([torch.zeros(4), torch.zeros(3)]), iter([torch.zeros(10)])))
    assert sum(a.shape[-1] for a, _ in pairs) == 7


def test_a_stream_that_is_shorter_than_the_first_is_an_error():
    with pytest.raises(ValueError, match="stream 1 is shorter"):
        list(in_step(iter([torch.zeros(10)]), iter([torch.zeros(4), torch.zeros(3)])))


def test_empty_blocks_do_not_matter():
    stream = iter([torch.zeros(0), torch.ones(2), torch.zeros(0)])
    assert [len(a) for (a,) in in_step(stream)] == [2]
