"""Stems add up to the mixture, before and after rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mssctl.config.schema import AudioConfig
from mssctl.errors import ExitCode, MssctlError
from mssctl.models.base import Separator
from mssctl.separation.stems import project, quantize, select, with_rest

STEMS = ("vocals", "drums", "bass", "other")


def test_projected_stems_add_up_to_the_mixture():
    stems, mix = torch.randn(4, 2, 100), torch.randn(2, 100)
    torch.testing.assert_close(project(stems, mix).sum(dim=0), mix)


def test_projecting_twice_changes_nothing():
    stems, mix = torch.randn(4, 2, 100), torch.randn(2, 100)
    once = project(stems, mix)
    torch.testing.assert_close(project(once, mix), once)


@pytest.mark.parametrize("seed", range(5))
def test_projection_never_increases_the_total_squared_error(seed):
    torch.manual_seed(seed)
    truth = torch.randn(4, 2, 100)
    guess = truth + torch.randn(4, 2, 100) * torch.rand(4, 1, 1)
    before = (guess - truth).square().sum()
    assert (project(guess, truth.sum(dim=0)) - truth).square().sum() <= before


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.floats(-0.125, 0.125, width=32), min_size=1, max_size=6),
    st.sampled_from([16, 24]),
)
def test_rounded_stems_add_up_exactly_and_are_less_than_a_step_away(values, bits):
    stems = np.array(values, dtype=np.float32)[:, None, None]
    scale = 1 << (bits - 1)
    total = np.array([[round(sum(values) * scale) / scale]], dtype=np.float32)  # a sample of bits
    rounded, clipped = quantize(stems, bits, total)
    # The sum may be half a step off the stems' own, so one of them may be pushed further.
    assert rounded.sum() == round(float(total[0, 0]) * scale)
    assert np.abs(rounded - stems.astype(np.float64) * scale).max() <= 1
    assert clipped == 0


def test_rounding_each_stem_by_itself_would_not_add_up():
    """Why `quantize` takes the total: here four roundings are two steps off."""
    stems = np.full((4, 1, 1), 0.5 / 32_768, dtype=np.float32) * np.float32(0.99)
    alone, _ = quantize(stems, 16)
    together, _ = quantize(stems, 16, stems.sum(axis=0))
    assert alone.sum() == 0
    assert together.sum() == 2


def test_without_a_total_each_stem_is_rounded_to_the_nearest():
    stems = np.array([0.4, 0.6, -0.6], dtype=np.float32)[:, None, None] / 32_768
    assert quantize(stems, 16)[0].ravel().tolist() == [0, 1, -1]


def test_samples_beyond_full_scale_are_clipped_and_counted():
    stems = np.array([[[1.5, -1.5, -1.0, 0.0]]], dtype=np.float32)
    rounded, clipped = quantize(stems, 16, stems[0])
    assert rounded.ravel().tolist() == [32_767, -32_768, -32_768, 0]
    assert clipped == 2


def test_all_stems_are_written_by_default():
    chosen = select(STEMS)
    assert chosen.names == STEMS
    assert chosen.complete
    stems = torch.randn(4, 2, 5)
    assert torch.equal(chosen.apply(stems), stems)


def test_some_stems_in_the_order_asked_for():
    chosen = select(STEMS, only=["bass", "vocals", "bass"])
    assert chosen.names == ("bass", "vocals")
    assert not chosen.complete
    stems = torch.randn(4, 2, 5)
    assert torch.equal(chosen.apply(stems), stems[[2, 0]])


@pytest.mark.parametrize(("method", "rest"), [("add", "no_drums"), ("minus", "minus_drums")])
def test_two_stems_are_one_and_the_sum_of_the_others(method, rest):
    chosen = select(STEMS, two_stems="drums", other_method=method)
    assert chosen.names == ("drums", rest)
    assert chosen.complete
    stems = torch.randn(4, 2, 5)
    torch.testing.assert_close(chosen.apply(stems).sum(dim=0), stems.sum(dim=0))
    assert torch.equal(chosen.apply(stems)[0], stems[1])


@pytest.mark.parametrize(("method", "rest"), [("add", "no_vocals"), ("minus", "minus_vocals")])
def test_of_a_model_for_one_instrument_the_other_is_the_rest_of_the_mixture(method, rest):
    chosen = select(("vocals",), two_stems="vocals", other_method=method, whole=False)
    vocals, mix = torch.randn(1, 2, 5), torch.randn(2, 5)
    outputs = chosen.apply(with_rest(vocals, mix))
    assert (chosen.names, chosen.complete) == (("vocals", rest), True)
    assert torch.equal(outputs[0], vocals[0])
    torch.testing.assert_close(outputs[1], mix - vocals[0])


def test_all_stems_of_a_model_for_one_instrument_are_not_the_mixture():
    chosen = select(("vocals",), whole=False)
    assert (chosen.names, chosen.complete) == (("vocals",), False)
    vocals, mix = torch.randn(1, 2, 5), torch.randn(2, 5)
    assert torch.equal(chosen.apply(with_rest(vocals, mix)), vocals)


def test_two_stems_without_the_other():
    chosen = select(STEMS, two_stems="drums", other_method="none")
    assert chosen.names == ("drums",)
    assert not chosen.complete


@pytest.mark.parametrize("wrong", [{"only": ["vocal"]}, {"two_stems": "vocal"}])
def test_an_unknown_stem_is_refused_with_the_nearest(wrong):
    with pytest.raises(MssctlError, match="no stem 'vocal'") as caught:
        select(STEMS, **wrong)
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.hint == "did you mean 'vocals'?"


def test_stems_and_two_stems_exclude_each_other():
    with pytest.raises(MssctlError, match="exclude each other"):
        select(STEMS, only=["bass"], two_stems="bass")


@pytest.mark.parametrize("method", ["add", "minus", "none"])
def test_a_method_for_the_rest_means_nothing_without_two_stems(method):
    with pytest.raises(MssctlError, match="`other_method` goes with `two_stems`") as caught:
        select(STEMS, other_method=method)
    assert caught.value.exit_code == ExitCode.USAGE


class Heads(Separator):
    """A head per stem: stem ``i`` is the mixture times ``i + 1``."""

    heads = "gains"

    def __init__(self, stems: tuple[str, ...]) -> None:
        super().__init__(AudioConfig(stems=stems))
        self.gains = nn.ModuleList([nn.Linear(1, 1, bias=False) for _ in stems])
        for number, gain in enumerate(self.gains, start=1):
            gain.requires_grad_(False).weight.fill_(float(number))

    def forward(self, mix: Tensor) -> Tensor:
        return torch.stack([gain(mix[..., None])[..., 0] for gain in self.gains], dim=1)


@pytest.mark.parametrize(
    ("options", "computed", "expected"),
    [
        ({}, 4, None),
        ({"only": ["c", "a"]}, 2, [3.0, 1.0]),
        ({"two_stems": "b"}, 1, [2.0, -1.0]),  # the rest of a mixture of 1
        ({"two_stems": "b", "other_method": "minus"}, 1, [2.0, -1.0]),
        ({"two_stems": "b", "other_method": "none"}, 1, [2.0]),
    ],
)
def test_only_what_is_written_is_computed(options, computed, expected):
    stems = ("a", "b", "c", "d")
    model = Heads(stems)
    selection = select(stems, **options)
    narrowed = selection.narrowed(model)
    assert narrowed.names == selection.names
    assert len(model.gains) == len(model.stems) == computed
    if expected is None:
        assert narrowed == selection
    else:
        mix = torch.ones(2, 5)
        outputs = narrowed.apply(with_rest(model(mix[None])[0], mix))
        assert torch.equal(outputs, torch.tensor(expected)[:, None, None].expand(-1, 2, 5))


def test_a_model_without_heads_computes_everything():
    class Whole(Heads):
        heads = None

    selection = select(("a", "b", "c"), two_stems="a")
    model = Whole(("a", "b", "c"))
    assert selection.narrowed(model) == selection
    assert model.stems == ("a", "b", "c")


def test_one_stem_can_take_all_that_is_missing():
    stems, mix = torch.randn(3, 2, 100), torch.randn(2, 100)
    projected = project(stems, mix, 1)
    torch.testing.assert_close(projected.sum(dim=0), mix)
    assert torch.equal(projected[[0, 2]], stems[[0, 2]])
