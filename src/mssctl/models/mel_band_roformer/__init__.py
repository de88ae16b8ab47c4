"""Mel-Band RoFormer: transformers with rotary embedding along time and along mel bands.

Source: Wang et al. (arXiv:2310.01809).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from mssctl.models.architecture import Architecture, AttentionShape, Tree
from mssctl.models.mel_band_roformer.config import MelBandRoformerConfig

if TYPE_CHECKING:
    from mssctl.models.base import Separator
    from mssctl.models.layouts import Layout
    from mssctl.models.run_config import RunConfig


class MelBandRoformerArchitecture(Architecture):
    """Bands that overlap, of equal width in mel."""

    config = MelBandRoformerConfig
    tiny: ClassVar[Tree] = {
        "model": {
            "name": "mel_band_roformer",
            "n_layers": 1,
            "emb_dim": 8,
            "n_heads": 2,
            "dim_head": 4,
            "mask_expansion": 1,
            "num_bands": 8,
        },
        "stft": {"n_fft": 256, "hop_length": 64},
    }
    parts: ClassVar[Mapping[str, str]] = {
        "blocks": "activations of the blocks",
        "rope": "activations of the blocks",
        "encoder": "front end",
    }

    def build(self, config: RunConfig) -> Separator:
        """A `MelBandRoformer`."""
        from mssctl.models.mel_band_roformer.model import MelBandRoformer

        return MelBandRoformer(config)

    def attention(self, config: RunConfig) -> list[AttentionShape]:
        """Along frames and along bands."""
        model = MelBandRoformerConfig.of(config)
        frames = config.training.segment_length // config.stft.hop_length + 1
        return [
            AttentionShape("bands", model.n_heads, model.num_bands, model.dim_head),
            AttentionShape("frames", model.n_heads, frames, model.dim_head),
        ]

    def layouts(self) -> Mapping[str, Layout]:
        """Of public checkpoints."""
        from mssctl.models.mel_band_roformer.official import LAYOUTS

        return LAYOUTS
