"""BS-RoFormer and Mel-Band RoFormer: one core, with bands side by side or on the mel scale.

Source: Lu et al. (arXiv:2309.02612), Wang et al. (arXiv:2310.01809).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from mssctl.models.architecture import Architecture, AttentionShape, Tree
from mssctl.models.roformer.config import BSRoformerConfig, MelBandRoformerConfig

if TYPE_CHECKING:
    from mssctl.models.base import Separator
    from mssctl.models.foreign import ForeignPreset
    from mssctl.models.layouts import Layout
    from mssctl.models.run_config import RunConfig


class BSRoformerArchitecture(Architecture):
    """Bands side by side."""

    config = BSRoformerConfig
    tiny: ClassVar[Tree] = {
        "model": {
            "name": "bs_roformer",
            "n_layers": 1,
            "emb_dim": 8,
            "n_heads": 2,
            "dim_head": 4,
            "mask_expansion": 1,
            "freqs_per_bands": "rule",
        },
        "stft": {"n_fft": 256, "hop_length": 64},
    }
    parts: ClassVar[Mapping[str, str]] = {
        "blocks": "activations of the blocks",
        "rope": "activations of the blocks",
        "encoder": "front end",
    }

    def build(self, config: RunConfig) -> Separator:
        """A `BSRoformer`."""
        from mssctl.models.roformer.model import BSRoformer

        return BSRoformer(config)

    def attention(self, config: RunConfig) -> list[AttentionShape]:
        """Along frames and along bands."""
        from mssctl.models.bands import band_widths

        model = BSRoformerConfig.of(config)
        widths = band_widths(model.freqs_per_bands, config.audio.sample_rate, config.stft.n_fft)
        frames = config.training.segment_length // config.stft.hop_length + 1
        return [
            AttentionShape("bands", model.n_heads, len(widths), model.dim_head),
            AttentionShape("frames", model.n_heads, frames, model.dim_head),
        ]

    def foreign_presets(self) -> Sequence[ForeignPreset]:
        """Of public training scripts."""
        from mssctl.models.foreign import ForeignPreset
        from mssctl.models.roformer.foreign import LOSS, RULES

        base = {"model.name": "bs_roformer", **LOSS}
        return (ForeignPreset(("model.freqs_per_bands", "training.instruments"), base, RULES),)

    def layouts(self) -> Mapping[str, Layout]:
        """Of public checkpoints."""
        from mssctl.models.roformer.official import LAYOUTS

        return {"bs_roformer": LAYOUTS["bs_roformer"]}


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
        from mssctl.models.roformer.model import MelBandRoformer

        return MelBandRoformer(config)

    def attention(self, config: RunConfig) -> list[AttentionShape]:
        """Along frames and along bands."""
        model = MelBandRoformerConfig.of(config)
        frames = config.training.segment_length // config.stft.hop_length + 1
        return [
            AttentionShape("bands", model.n_heads, model.num_bands, model.dim_head),
            AttentionShape("frames", model.n_heads, frames, model.dim_head),
        ]

    def foreign_presets(self) -> Sequence[ForeignPreset]:
        """Of public training scripts."""
        from mssctl.models.foreign import ForeignPreset
        from mssctl.models.roformer.foreign import LOSS, RULES

        base = {"model.name": "mel_band_roformer", "model.mask_depth": 1, **LOSS}
        return (ForeignPreset(("model.num_bands", "training.instruments"), base, RULES),)

    def layouts(self) -> Mapping[str, Layout]:
        """Of public checkpoints."""
        from mssctl.models.roformer.official import LAYOUTS

        return {"mel_band_roformer": LAYOUTS["mel_band_roformer"]}
