"""The replay of the caching allocator: what it rounds, reserves and uses again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssctl.planning.predict.allocator import MIB, CachingAllocator, rounded


@pytest.mark.parametrize(
    ("size", "counted"), [(0, 0), (1, 512), (512, 512), (513, 1024), (MIB + 1, MIB + 512)]
)
def test_requests_are_rounded_to_512_bytes(size, counted):
    assert rounded(size) == counted


@pytest.mark.parametrize(
    ("size", "segment"),
    [
        (1, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 1, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (11 * MIB + 1, 12 * MIB),
    ],
)
def test_a_first_request_reserves_a_segment_of_its_pool(size, segment):
    allocator = CachingAllocator()
    allocator.take(size)
    assert allocator.reserved == segment


def test_what_was_given_back_is_used_again():
    allocator = CachingAllocator()
    for _ in range(5):
        allocator.give_back(allocator.take(30 * MIB))
    assert allocator.reserved == 30 * MIB


def test_neighbours_that_are_free_become_one_block():
    allocator = CachingAllocator()
    whole = allocator.take(40 * MIB)
    allocator.give_back(whole)
    parts = [allocator.take(10 * MIB) for _ in range(4)]
    for part in (parts[1], parts[3], parts[0], parts[2]):
        allocator.give_back(part)
    allocator.take(40 * MIB)
    assert allocator.reserved == 40 * MIB


def test_a_hole_that_is_too_small_costs_a_new_segment():
    allocator = CachingAllocator()
    allocator.give_back(allocator.take(30 * MIB))
    allocator.take(31 * MIB)
    assert allocator.reserved == 62 * MIB


@given(st.lists(st.tuples(st.integers(0, 64 * MIB), st.booleans()), max_size=40))
def test_it_never_reserves_less_than_is_in_use(requests):
    allocator = CachingAllocator()
    held = []
    for size, release in requests:
        held.append((size, allocator.take(size)))
        if release:
            allocator.give_back(held.pop(len(held) // 2)[1])
        assert allocator.reserved >= sum(rounded(size) for size, _ in held)
    reserved = allocator.reserved
    for _, block in held:
        allocator.give_back(block)
    assert allocator.reserved == reserved
