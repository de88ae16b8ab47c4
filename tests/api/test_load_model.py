"""`mssctl.load_model`: waveforms of any kind, rate and number of channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mssctl
from mssctl.errors import MssctlError


@pytest.fixture(scope="module")
def model():
    return mssctl.load_model("starter", device="cpu")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


@pytest.mark.parametrize("rate", [44_100, 32_000])
@pytest.mark.parametrize("shape", [(2, 50_000), (1, 20_001), (20_001,), (3, 20_000)])
def test_stems_have_the_kind_and_shape_of_the_waveform_and_add_up(model, shape, rate):
    mix, heard = noise(*shape), []
    stems = model.separate(mix, rate, progress=heard.append)
    assert tuple(stems) == model.stems == ("vocals", "drums", "bass", "other")
    assert all(isinstance(stem, np.ndarray) and stem.shape == shape for stem in stems.values())
    np.testing.assert_allclose(sum(stems.values()), mix, atol=1e-5)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0


def test_a_tensor_gives_tensors_with_the_same_values(model):
    mix = noise(2, 30_000)
    one, other = model.separate(mix, 44_100), model.separate(torch.from_numpy(mix), 44_100)
    for name in model.stems:
        assert isinstance(other[name], torch.Tensor)
        np.testing.assert_array_equal(one[name], other[name].numpy())


def test_a_stream_gives_the_same_in_pieces(model):
    mix = noise(2, 300_000)
    whole = model.separate(mix, 44_100)
    pieces = list(model.stream(iter(torch.from_numpy(mix).split(70_000, dim=1)), 44_100))
    assert len(pieces) > 1
    pieces[0]["vocals"].mul_(1.0)  # an ordinary tensor
    for name in model.stems:
        joined = torch.cat([piece[name] for piece in pieces], dim=1).numpy()
        np.testing.assert_allclose(joined, whole[name], atol=1e-5)


def test_a_model_that_needs_the_level_of_the_song_cannot_stream():
    model = mssctl.load_model("starter", device="cpu")
    model.change(normalize=True)
    stems = model.separate(noise(2, 20_000), 44_100)
    np.testing.assert_allclose(sum(stems.values()), noise(2, 20_000), atol=1e-5)
    with pytest.raises(MssctlError, match="level of the whole song"):
        next(model.stream(iter([torch.zeros(2, 9)]), 44_100))


@pytest.mark.parametrize("shape", [(0,), (2, 0), (1, 2, 3)])
def test_what_is_no_waveform_is_refused(model, shape):
    with pytest.raises(MssctlError, match="expected finite samples"):
        model.separate(np.zeros(shape, dtype=np.float32), 44_100)
    with pytest.raises(MssctlError, match="expected finite samples"):
        model.separate(np.full((2, 9), np.nan, dtype=np.float32), 44_100)
