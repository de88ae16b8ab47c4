"""The one STFT pair: periodic window, centered, reflect padding, not normalized."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

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
        waves = [
            torch.istft(
                part,
                self.n_fft,
                self.hop_length,
                window=self.window,
                length=self._padded(length),
            )
            for part in parts
        ]
        wave = torch.cat(waves)
        return wave[:, :length].reshape(*spec.shape[:-2], length)

    def frames_of(self, length: int) -> int:
        """How many frames `forward` gives for ``length`` samples."""
        return self._padded(length) // self.hop_length + 1

    def _padded(self, length: int) -> int:
        """Samples after padding: enough to reflect at the edges, and invertible to the end."""
        length = max(length, self.n_fft // 2 + 1)
        if 4 * self.hop_length > self.n_fft:
            length = -(-length // self.hop_length) * self.hop_length
        return length
