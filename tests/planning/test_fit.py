"""The search for what fits a card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mssctl import presets
from mssctl.planning.fit import GIB, Budget, largest_batch, with_batch
from mssctl.planning.predict.fake_step import Peak
from mssctl.planning.predict.workspaces import CONTEXT

NONE = Peak(0, 0, 0, CONTEXT, 0, "", "", {}, (), (), 0, (), 0)


@pytest.mark.parametrize("guess", [1, 7, 8, 30])
@pytest.mark.parametrize("fixed", [0.0, 2.5])
def test_the_search_ends_at_a_batch_that_fits_before_one_that_does_not(guess, fixed):
    asked = []

    def peaks_of(batches: Sequence[int]) -> list[Peak]:
        asked.extend(batches)
        needed = [fixed + max(1.0 * batch, 1.2 * batch - 1) for batch in batches]
        return [replace(NONE, tensors=round(gib * GIB)) for gib in needed]

    budget = Budget(12.0)
    found = largest_batch(peaks_of, budget, guess)
    assert found.peak is not None
    assert found.peak.allocated <= budget.allocated < found.beyond.allocated
    assert {found.batch, found.batch + 1} <= set(asked)
    assert len(asked) == len(set(asked)) <= 7


def test_nothing_fits_a_card_that_is_too_small():
    peak = replace(NONE, tensors=9 * GIB)
    found = largest_batch(lambda batches: [peak] * len(batches), Budget(8.0), 4)
    assert (found.batch, found.peak) == (0, None)


def test_the_risk_says_whether_the_allocator_must_give_memory_back():
    budget = Budget(8.0)
    peak = replace(NONE, tensors=6 * GIB, reserved=6 * GIB)
    assert budget.risk(peak) == "low"
    assert budget.risk(replace(peak, reserved=8 * GIB)).startswith("medium")
    assert budget.risk(replace(peak, tensors=8 * GIB)) == "does not fit"


@pytest.mark.parametrize(("batch", "micro"), [(24, 1), (12, 2), (10, 3), (1, 24), (99, 1)])
def test_a_smaller_batch_is_accumulated_to_the_same_number_of_examples(batch, micro):
    training = with_batch(presets.load("small"), batch, "block").training
    assert training.gradient_accumulation_steps == micro
    assert training.batch_size * micro >= 24
    assert training.gradient_checkpointing == "block"
