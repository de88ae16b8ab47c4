"""Mel filters: the triangles of Slaney's scale, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mssctl.audio.mel import mel_filters


def hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_filters_are_those_of_the_formula(rate):
    top = 15 + 27 * np.log(rate / 2 / 1000) / np.log(6.4)
    edges = hertz(np.linspace(0, top, 514))
    frequencies = np.linspace(0, rate / 2, 2049)
    low, center, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (center - low), (high - frequencies) / (high - center)
    wanted = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    np.testing.assert_allclose(mel_filters(rate, 4096, 512), wanted, atol=1e-13)


def test_other_code_computes_in_its_own_precision_afterwards():
    mel_filters(8000, 256, 80)  # with empty bands, of which torchaudio warns
    assert torch.get_default_dtype() == torch.float32
