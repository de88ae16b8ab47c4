"""HTDemucs: U-Nets on spectrogram and waveform, joined by a transformer.

Source: arXiv:2211.08553.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from mssctl.models.architecture import Architecture, AttentionShape, Tree
from mssctl.models.htdemucs.config import STRIDE, HTDemucsConfig

if TYPE_CHECKING:
    from mssctl.models.base import Separator
    from mssctl.models.foreign import ForeignPreset
    from mssctl.models.layouts import Layout
    from mssctl.models.run_config import RunConfig


class HTDemucsArchitecture(Architecture):
    """Two U-Nets and a transformer between them."""

    config = HTDemucsConfig
    tiny: ClassVar[Tree] = {
        "model": {
            "name": "htdemucs",
            "depth": 2,
            "base_channels": 4,
            "dconv_compress": 2,
            "n_layers": 2,
            "emb_dim": 8,
            "n_heads": 2,
            "ffn_expansion": 1,
        },
        "stft": {"n_fft": 256, "hop_length": 64},
    }
    parts: ClassVar[Mapping[str, str]] = {"nets": "encoders, transformer and decoders"}

    def build(self, config: RunConfig) -> Separator:
        """An `HTDemucs`."""
        from mssctl.models.htdemucs.model import HTDemucs

        return HTDemucs(config)

    def attention(self, config: RunConfig) -> list[AttentionShape]:
        """Of each branch along its own tokens."""
        model = HTDemucsConfig.of(config)
        head, length = model.width // model.n_heads, config.training.segment_length
        rows = config.stft.n_fft // 2 // STRIDE**model.depth
        tokens = -(-length // config.stft.hop_length) * rows
        steps = -(-length // STRIDE**model.depth)
        return [
            AttentionShape("spectrogram", model.n_heads, tokens, head),
            AttentionShape("waveform", model.n_heads, steps, head),
        ]

    def foreign_presets(self) -> Sequence[ForeignPreset]:
        """Of public training scripts."""
        from mssctl.models.htdemucs.foreign import MSST

        return (MSST,)

    def layouts(self) -> Mapping[str, Layout]:
        """Of the published checkpoints."""
        from mssctl.models.htdemucs.official import LAYOUTS

        return LAYOUTS
