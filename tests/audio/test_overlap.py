"""Laws of the streaming overlap-add, and of streams in step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mssctl.audio.overlap import fade_window, in_step, overlap_add, reflected

SEGMENT = 100


def copies(mix: Tensor) -> Tensor:
    """Two stems: the mixture, and its double."""
    return torch.stack([mix, 2 * mix], dim=1)


def whole(signal: Tensor, block: int, **settings) -> Tensor:
    blocks = iter(signal.split(block, dim=-1))
    return torch.cat(list(overlap_add(blocks, **settings)), dim=-1)


@pytest.mark.parametrize("edges", ["reflected", "centered"])
@pytest.mark.parametrize("fade", ["hann", "linear"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("length", [1, 74, 75, 76, 99, 100, 101, 1_234])
def test_a_model_that_copies_its_input_gives_the_input_back(length, overlap, fade, edges):
    signal = torch.randn(2, length)
    for block, batch_size, shift in [(1_234, 1, 0), (7, 3, 0), (64, 2, 13)]:
        out = whole(
            signal,
            block,
            apply=copies,
            segment=SEGMENT,
            overlap=overlap,
            fade=fade,
            batch_size=batch_size,
            shift=shift,
            edges=edges,
        )
        torch.testing.assert_close(out, torch.stack([signal, 2 * signal]))


def test_the_lengths_of_the_blocks_do_not_matter():
    signal = torch.randn(1, 777)

    def squash(mix: Tensor) -> Tensor:  # depends on the place in the segment
        return (mix.cumsum(dim=-1)).tanh()[:, None]

    settings = {"apply": squash, "segment": SEGMENT, "overlap": 0.25}
    expected = whole(signal, 777, **settings)
    for block in (1, 10, 100, 101):
        torch.testing.assert_close(whole(signal, block, **settings), expected)


def test_the_batch_size_changes_how_often_the_model_runs_and_nothing_else():
    signal = torch.randn(1, 1_000)
    sizes: dict[int, list[int]] = {1: [], 4: []}
    results = []
    for batch_size, seen in sizes.items():

        def apply(mix: Tensor, seen: list[int] = seen) -> Tensor:
            seen.append(mix.shape[0])
            return mix[:, None].abs()

        results.append(
            whole(signal, 50, apply=apply, segment=100, overlap=0.5, batch_size=batch_size)
        )
    torch.testing.assert_close(*results)
    assert set(sizes[1]) == {1}
    assert max(sizes[4]) == 4
    assert sum(sizes[4]) == sum(sizes[1])


def test_an_empty_stream_gives_nothing():
    assert list(overlap_add(iter([]), copies, segment=10, overlap=0.5)) == []
    assert list(overlap_add(iter([torch.zeros(2, 0)]), copies, segment=10, overlap=0.5)) == []


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
def test_no_more_than_a_few_segments_are_ever_held(overlap):
    """The stream is read only as far as needed, however long it is."""
    taken = 0

    def endless() -> Iterator[Tensor]:
        nonlocal taken
        while True:
            taken += 10
            yield torch.ones(1, 10)

    given = 0
    stream = overlap_add(endless(), copies, segment=100, overlap=overlap, batch_size=2)
    while given < 5_000:
        given += next(stream).shape[-1]
        assert taken - given <= 5 * 100
    assert taken > 5_000


@pytest.mark.parametrize("fade", ["hann", "linear"])
def test_cross_fades_add_up_to_one(fade):
    window = fade_window(100, 75, fade)
    assert window.min() > 0
    torch.testing.assert_close(window[:25] + window[75:], torch.ones(25))
    torch.testing.assert_close(window[25:75], torch.ones(50))


def test_positions_are_reflected_at_both_ends():
    assert reflected(torch.arange(-3, 8), 4).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]
    assert reflected(torch.arange(-3, 3), 1).tolist() == [0] * 6


def test_the_model_hears_the_reflected_edges():
    heard = []

    def apply(mix: Tensor) -> Tensor:
        heard.append(mix[0, 0])
        return mix[:, None]

    list(overlap_add(iter([torch.arange(1.0, 7.0)[None]]), apply, segment=4, overlap=0.5))
    assert heard[0].tolist() == [3, 2, 1, 2]
    assert heard[-1].tolist() == [5, 6, 5, 4]


@pytest.mark.parametrize(
    "wrong", [{"segment": 0}, {"overlap": 1.0}, {"overlap": -0.1}, {"batch_size": 0}, {"shift": -1}]
)
def test_settings_out_of_range_are_refused(wrong):
    settings = {"segment": 10, "overlap": 0.5} | wrong
    with pytest.raises(ValueError, match="need"):
        next(overlap_add(iter([torch.ones(1, 5)]), copies, **settings))


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


@pytest.mark.parametrize("edges", ["zeros", "centered"])
@pytest.mark.parametrize("length", [1, 7, 40, 41, 99, 100, 129, 130, 131, 200])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_other_edges_also_give_a_copied_input_back(length, edges, overlap):
    wave = torch.randn(2, length)
    blocks = iter(wave.split(11, dim=-1))
    parts = overlap_add(blocks, lambda x: x[:, None], segment=40, overlap=overlap, edges=edges)
    torch.testing.assert_close(torch.cat(list(parts), dim=-1), wave[None])


def test_what_is_left_is_in_the_middle_of_the_last_segment():
    heard: list[Tensor] = []

    def listen(batch: Tensor) -> Tensor:
        heard.extend(batch[:, 0])
        return batch[:, None]

    wave = torch.arange(1.0, 101.0)[None]
    list(overlap_add(iter([wave]), listen, segment=40, overlap=0.25, edges="centered"))
    starts = [int(part[0]) - 1 for part in heard]
    assert starts == [0, 30, 60, 75]  # the last 10 samples, 15 before them and 15 zeros after
    assert torch.equal(heard[-1], F.pad(wave[0, 75:], (0, 15)))


def test_silence_surrounds_the_signal():
    heard: list[Tensor] = []

    def listen(batch: Tensor) -> Tensor:
        heard.extend(batch[:, 0])
        return batch[:, None]

    wave = torch.arange(1.0, 31.0)[None]
    list(overlap_add(iter([wave]), listen, segment=40, overlap=0.0, edges="zeros", shift=5))
    assert torch.equal(heard[0], F.pad(wave[0], (5, 5)))


@pytest.mark.parametrize("block", [1, 7, 1_000])
def test_centered_segments_begin_with_the_signal_and_end_with_a_centered_rest(block):
    signal = torch.arange(1.0, 231.0)[None]
    seen: list[Tensor] = []

    def apply(mix: Tensor) -> Tensor:
        seen.extend(mix[:, 0])
        return mix[:, None]

    whole(signal, block, apply=apply, segment=100, overlap=0.25, edges="centered")
    starts = [0, 75, 150 - 10, 225 - 47]  # 80 and 5 samples remain for the last two
    assert len(seen) == len(starts)
    padded = torch.nn.functional.pad(signal[0], (0, 100))
    for segment, start in zip(seen, starts, strict=True):
        torch.testing.assert_close(segment, padded[start : start + 100])


def test_a_short_signal_is_centered_in_silence():
    seen: list[Tensor] = []

    def apply(mix: Tensor) -> Tensor:
        seen.extend(mix[:, 0])
        return mix[:, None]

    out = whole(torch.ones(1, 5), 5, apply=apply, segment=10, overlap=0.25, edges="centered")
    assert seen[0].tolist() == [0, 0, 1, 1, 1, 1, 1, 0, 0, 0]
    assert out.tolist() == [[[1.0] * 5]]
