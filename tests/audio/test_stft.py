"""The STFT pair is invertible for any length, at any overlap it allows."""

from __future__ import annotations

import pytest
import torch

from mssctl.audio.stft import STFT

SIZES = [(256, 64, "hann"), (256, 128, "hann"), (256, 128, "sqrt_hann"), (192, 64, "hann")]


@pytest.mark.parametrize(("n_fft", "hop", "window"), SIZES)
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 128, 129, 191, 192, 1000, 4097])
def test_the_inverse_gives_the_signal_back(n_fft: int, hop: int, window: str, length: int) -> None:
    torch.manual_seed(0)
    stft = STFT(n_fft, hop, window)
    x = torch.randn(2, 3, length)
    torch.testing.assert_close(stft.inverse(stft(x), length), x, atol=1e-5, rtol=0)


def test_frames_are_counted_as_the_field_does() -> None:
    assert STFT(4096, 1024)(torch.zeros(441_000)).shape == (2049, 431)


def test_a_sine_lands_in_its_bin() -> None:
    n_fft = 256
    x = torch.sin(2 * torch.pi * 10 / n_fft * torch.arange(2048))
    assert STFT(n_fft, 64)(x).abs().mean(-1).argmax() == 10


def test_an_empty_signal_is_a_wrong_call() -> None:
    with pytest.raises(ValueError, match="empty"):
        STFT(256, 64)(torch.zeros(2, 0))


def test_an_unknown_window_is_a_wrong_call() -> None:
    with pytest.raises(ValueError, match="hann, sqrt_hann or rectangular"):
        STFT(256, 64, "kaiser")
