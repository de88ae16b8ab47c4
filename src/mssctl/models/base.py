"""The contract that every separation network keeps: waveform in, one waveform per stem out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mssctl.audio.stft import STFT
from mssctl.config.bounds import Checkpointing
from mssctl.config.schema import AudioConfig, STFTConfig
from mssctl.hardware.device import full_precision


class Separator(nn.Module, ABC):
    """A network that splits a mixture.

    Attributes:
        stems: names of the outputs, in order.
        sources: names of all stems that make up a mixture; the outputs are among them.
        sample_rate: of input and output, Hz.
        channels: audio channels ``C`` of input and output.
        heads: name of the `torch.nn.ModuleList` with one module per output, if there is one.

    Shape:
        ``forward``: ``(B, C, N) -> (B, S, C, N)`` float32, for any ``N >= 1``.
    """

    heads: ClassVar[str | None] = None

    def __init__(self, audio: AudioConfig) -> None:
        super().__init__()
        self.stems = audio.outputs
        self.sources = audio.stems
        self.sample_rate = audio.sample_rate
        self.channels = audio.channels
        self.checkpointing: Checkpointing = "none"

    @property
    def complete(self) -> bool:
        """Whether the outputs make up the whole mixture."""
        return self.stems == self.sources

    def targets(self, sources: Tensor) -> Tensor:
        """Of all ``sources`` ``(B, S, C, N)``, those that this model gives."""
        if self.complete:
            return sources
        return sources[:, [self.sources.index(stem) for stem in self.stems]]

    def keep(self, stems: Sequence[str]) -> bool:
        """Compute only these outputs from now on, if they have heads of their own.

        Returns:
            Whether `stems` has changed; else all are computed as before.
        """
        if self.heads is None:
            return False
        heads = getattr(self, self.heads)
        kept = [index for index, stem in enumerate(self.stems) if stem in stems]
        setattr(self, self.heads, nn.ModuleList([heads[index] for index in kept]))
        self.stems = tuple(self.stems[index] for index in kept)
        return True

    def backends(self) -> dict[str, str]:
        """What computes the parts for which there is a choice: part -> name and reason."""
        return {}

    def regions(self) -> list[nn.Module]:
        """The repeated parts that ``training.compile`` compiles; none where it would not pay."""
        return []

    @abstractmethod
    def forward(self, mix: Tensor) -> Tensor:
        """Split ``mix`` of shape ``(B, C, N)`` into ``(B, S, C, N)``."""

    def set_checkpointing(self, level: Checkpointing) -> None:
        """Recompute activations in backward: of whole blocks, of single paths, or none."""
        self.checkpointing = level

    def run(self, level: Checkpointing, function: Callable[..., Tensor], *args: Any) -> Tensor:
        """Call ``function``, recomputing it in backward if checkpointing is at ``level``."""
        if self.checkpointing == level and torch.is_grad_enabled():
            result: Tensor = checkpoint(function, *args, use_reentrant=False)
            return result
        return function(*args)


class SpectralSeparator(Separator):
    """A separator that works on the STFT; subclasses define `spectrum_real`.

    Args:
        audio: rate, channels and stems.
        stft: the transform around the network.
        normalize: scale each mixture to a root mean square of 1, and the stems back.
    """

    def __init__(self, audio: AudioConfig, stft: STFTConfig, normalize: bool) -> None:
        super().__init__(audio)
        self.stft = STFT(stft.n_fft, stft.hop_length, stft.window)
        self.normalize = normalize

    def frames_of(self, length: int) -> int:
        """Frames ``T`` that the network sees of ``length`` samples."""
        return self.stft.frames_of(length)

    def spectrum(self, spec: Tensor) -> Tensor:
        """``(B, C, F, T)`` complex mixture -> ``(B, S, C, F, T)`` complex stems."""
        return torch.view_as_complex(self.spectrum_real(torch.view_as_real(spec)))

    def spectrum_real(self, spec: Tensor) -> Tensor:
        """`spectrum` on pairs of reals, ``(B, C, F, T, 2) -> (B, S, C, F, T, 2)``.

        A model that defines `spectrum` instead works, and cannot be exported to ONNX.
        """
        raise NotImplementedError

    def forward(self, mix: Tensor) -> Tensor:
        """Split ``(B, C, N)`` into ``(B, S, C, N)``; the transforms stay in float32."""
        if mix.dim() != 3 or mix.shape[1] != self.channels:
            raise ValueError(f"expected (B, {self.channels}, N), got {tuple(mix.shape)}")
        with full_precision(mix.device):
            mix = mix.float()
            scale = _level(mix) if self.normalize else torch.ones_like(mix[:, :1, :1])
            spec = self.stft(mix / scale)  # (B, C, F, T)
        stems = self.spectrum(spec)  # (B, S, C, F, T)
        with full_precision(mix.device):
            wave = self.stft.inverse(stems, mix.shape[-1])  # (B, S, C, N)
            return wave * scale[:, None]


def _level(mix: Tensor) -> Tensor:
    """Root mean square of each mixture ``(B, 1, 1)``; 1 for silence, which stays silence."""
    level = mix.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return torch.where(level > 1e-8, level, torch.ones_like(level))
