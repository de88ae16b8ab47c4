"""The table of GPUs, and this machine's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mssctl.errors import MssctlError
from mssctl.planning import target as cards
from mssctl.planning.predict.fake_step import Peak

PEAK = Peak(0, 0, 0, 0, 0, "", "", {}, (), (), 0, ((10**12, 10**9, 3),), 10**9)


@pytest.mark.parametrize("name", ["RTX 5090", "rtx5090", "NVIDIA GeForce RTX 5090"])
def test_a_card_is_found_however_it_is_written(name):
    assert cards.card_named(name).name == "RTX 5090"


def test_an_unknown_card_is_refused_with_a_hint():
    with pytest.raises(MssctlError, match="RTX 509O") as error:
        cards.card_named("RTX 509O")
    assert error.value.hint == "did you mean 'RTX 5090'?"


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA GeForce GTX 750", None),
    ],
)
def test_the_machines_name_leads_to_the_card(name, card):
    found = cards.card_in(name)
    assert (found.name if found else None) == card


def test_a_step_takes_the_longer_of_computing_and_reading():
    card = replace(cards.CARDS[0], bf16=1.0, bandwidth=1.0)
    assert card.seconds(PEAK) == pytest.approx(3 * 1.0 + 1.0)
    assert replace(card, bandwidth=0.1).seconds(PEAK) == pytest.approx(3 * 10.0 + 10.0)


def test_a_word_of_the_name_is_enough_where_it_means_one_card():
    assert cards.card_named("5090").name == "RTX 5090"
    with pytest.raises(MssctlError, match="A100 40GB or A100 80GB"):
        cards.card_named("a100")
