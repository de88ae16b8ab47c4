"""The one STFT pair: periodic window, centered, reflect padding, not normalized."""

from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

_LEAST_COVER = 1e-11  # of squared windows over a sample; below it nothing can be restored
_MOST_SAMPLES = 2**24  # in the frames that are made waveforms at once


class STFT(nn.Module):
    """Waveform to complex spectrogram and back, in float32.

    ``T = N // hop_length + 1`` frames of ``F = n_fft // 2 + 1`` bins. Where frames overlap by
    less than 3/4 the signal is first padded with zeros to a multiple of ``hop_length``, as the
    tail would otherwise be covered by the end of one window only and could not be inverted.

    Args:
        n_fft: length of window and transform, samples.
        hop_length: distance of frames, samples.
        window: ``hann``, or ``sqrt_hann``, which makes analysis times synthesis a Hann window; or
            ``rectangular``, none.
    """

    window: Tensor
    pad_mode = "reflect"  # at the edges; or constant

    def __init__(self, n_fft: int, hop_length: int, window: str = "hann") -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop_length = hop_length
        values = torch.hann_window(n_fft, periodic=True)
        if window == "sqrt_hann":
            values = values.sqrt()
        elif window == "rectangular":
            values = torch.ones(n_fft)
        elif window != "hann":
            raise ValueError(f"window {window!r}: hann, sqrt_hann or rectangular")
        self.register_buffer("window", values, persistent=False)
        self._cover: tuple[tuple[int, int, torch.device], Tensor] | None = None  # the last one used

    def forward(self, wave: Tensor) -> Tensor:
        """``(..., N) -> (..., F, T)`` complex64, for any ``N >= 1``."""
        length = wave.shape[-1]
        if length < 1:
            raise ValueError("empty signal")
        flat = F.pad(wave.reshape(-1, length).float(), (0, self._padded(length) - length))
        spec = torch.stft(
            flat,
            self.n_fft,
            self.hop_length,
            window=self.window,
            pad_mode=self.pad_mode,
            return_complex=True,
        )
        return spec.reshape(*wave.shape[:-1], *spec.shape[-2:])

    def inverse(self, spec: Tensor, length: int) -> Tensor:
        """``(..., F, T) -> (..., length)``; the exact inverse of `forward`."""
        flat = spec.reshape(-1, *spec.shape[-2:])
        # Frames of all stems of a long segment at once would need three times its memory.
        at_once = max(1, _MOST_SAMPLES // (self.n_fft * flat.shape[-1]))
        parts = flat.split(at_once if flat.device.type == "cpu" else len(flat))
        padded = self._padded(length)
        cover = self._cover_of(flat.shape[-1], padded)
        waves = [
            _OverlapAdd.apply(  # type: ignore[no-untyped-call]
                torch.fft.irfft(part.transpose(1, 2), self.n_fft),
                self.window,
                cover,
                self.hop_length,
            )
            for part in parts
        ]
        wave = waves[0] if len(waves) == 1 else torch.cat(waves)
        return wave[:, :length].reshape(*spec.shape[:-2], length)

    def _cover_of(self, frames: int, length: int) -> Tensor:
        """Sum of the squared windows over each of ``length`` samples.

        The last one is kept, so that whether it has a hole is looked at once and not in each step,
        which would wait for the device.

        Raises:
            ValueError: samples that no frame covers.
        """
        key = frames, length, self.window.device
        if self._cover is not None and self._cover[0] == key:
            return self._cover[1]
        with torch.inference_mode(mode=False), torch.no_grad():
            window = self.window.clone()  # autograd cannot keep a tensor made for inference
            every = window.square().expand(1, frames, -1)
            start = self.n_fft // 2
            cover = _overlapped(every, self.hop_length)[0, start : start + length]
            if isinstance(cover, FakeTensor):
                return cover
            if len(cover) < length or cover.min() < _LEAST_COVER:
                raise ValueError(
                    f"{frames} frames of {self.n_fft} samples, {self.hop_length} apart, do not "
                    f"cover {length} samples"
                )
            self._cover = key, cover
        return cover

    def frames_of(self, length: int) -> int:
        """How many frames `forward` gives for ``length`` samples."""
        return self._padded(length) // self.hop_length + 1

    def _padded(self, length: int) -> int:
        """Samples after padding: enough to reflect at the edges, and invertible to the end."""
        length = max(length, self.n_fft // 2 + 1)
        if 4 * self.hop_length > self.n_fft:
            length = -(-length // self.hop_length) * self.hop_length
        return length


class _OverlapAdd(torch.autograd.Function):
    """Frames ``(R, T, n_fft)``, windowed and added up, over what their windows cover."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, window: Tensor, cover: Tensor, hop: int) -> Tensor:
        ctx.save_for_backward(window, cover)
        ctx.hop, ctx.frames = hop, frames.shape[1]
        start = len(window) // 2
        return _overlapped(frames * window, hop)[:, start : start + len(cover)] / cover

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        window, cover = ctx.saved_tensors
        before = len(window) // 2
        whole = len(window) + ctx.hop * (ctx.frames - 1)
        grad = F.pad(grad / cover, (before, whole - before - len(cover)))
        return grad.unfold(1, len(window), ctx.hop) * window, None, None, None


def _overlapped(frames: Tensor, hop: int) -> Tensor:
    """Add up frames ``(R, T, n)`` that lie ``hop`` apart: ``(R, at least n + (T - 1) hop)``.

    In pieces of ``hop`` samples: each piece of all frames lies side by side.
    """
    rows, count, size = frames.shape
    pieces = -(-size // hop)
    result = frames.new_zeros(rows, count + pieces - 1, hop)
    for index in range(pieces):
        piece = frames[..., index * hop : (index + 1) * hop]
        result[:, index : index + count, : piece.shape[-1]] += piece
    return result.flatten(1)
