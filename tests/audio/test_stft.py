"""The STFT pair is invertible for any length, at any overlap it allows."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mssctl.audio.stft import STFT

SIZES = [(256, 64, "hann"), (256, 128, "hann"), (256, 128, "sqrt_hann"), (192, 64, "hann")]


@pytest.mark.parametrize(("n_fft", "hop", "window"), SIZES)
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 128, 129, 191, 192, 1000, 4097])
def test_the_inverse_gives_the_signal_back(n_fft: int, hop: int, window: str, length: int) -> None:
    torch.manual_seed(0)
    stft = STFT(n_fft, hop, window)
    x = torch.randn(2, 3, length)
    torch.testing.assert_close(stft.inverse(stft(x), length), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("n_fft", "hop", "window"), [*SIZES, (256, 55, "hann")])
@pytest.mark.parametrize("length", [129, 1000, 4097])
def test_the_inverse_is_pytorchs(n_fft: int, hop: int, window: str, length: int) -> None:
    """Of any spectrogram, not only of those that belong to a signal; and so is its gradient."""
    torch.manual_seed(0)
    stft = STFT(n_fft, hop, window)
    spec = torch.randn(3, n_fft // 2 + 1, stft.frames_of(length), dtype=torch.complex64)
    spec.requires_grad_()
    wave = stft.inverse(spec, length)
    padded = stft._padded(length)
    wanted = torch.istft(spec, n_fft, hop, window=stft.window, length=padded)[:, :length]
    torch.testing.assert_close(wave, wanted, atol=1e-6, rtol=1e-6)
    weight = torch.randn(wave.shape)
    mine, theirs = (torch.autograd.grad((y * weight).sum(), spec)[0] for y in (wave, wanted))
    torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-6)


def test_the_gradient_of_the_inverse_is_that_of_finite_differences() -> None:
    stft = STFT(16, 6).double()
    spec = torch.randn(1, 9, stft.frames_of(31), dtype=torch.complex128, requires_grad=True)

    def inverse(spec: torch.Tensor) -> torch.Tensor:
        return stft.inverse(spec, 31)

    assert torch.autograd.gradcheck(inverse, spec)


def test_the_inverse_looks_at_no_value_after_the_first_time() -> None:
    """On a GPU that would wait for all the work before; what was kept in inference can train."""
    stft = STFT(256, 64)
    spec = stft(torch.randn(2, 1000))
    with torch.inference_mode():
        first = stft.inverse(spec, 1000)

    class Looks(TorchDispatchMode):
        seen: ClassVar[set[str]] = set()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            self.seen.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    spec.requires_grad_()
    with Looks():
        again = stft.inverse(spec, 1000)
    again.sum().backward()
    assert torch.equal(again, first)
    assert "_fft_c2r" in Looks.seen
    assert not Looks.seen & {"_local_scalar_dense", "equal", "is_nonzero", "item"}


def test_frames_that_leave_a_hole_are_a_wrong_call() -> None:
    stft = STFT(256, 64)
    with pytest.raises(ValueError, match="9 frames of 256 samples, 64 apart, do not cover 1000"):
        stft.inverse(torch.zeros(2, 129, 9, dtype=torch.complex64), 1000)


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
