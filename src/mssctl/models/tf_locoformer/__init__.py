"""TF-Locoformer: attention and convolution along frequency and time in turn.

Source: Saijo et al. (IWAENC 2024, arXiv:2408.03440).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from mssctl.models.architecture import Architecture, AttentionShape, ClosedForm, Tree
from mssctl.models.tf_locoformer.config import TFLocoformerConfig

if TYPE_CHECKING:
    from mssctl.models.base import Separator
    from mssctl.models.foreign import ForeignPreset
    from mssctl.models.layouts import Layout
    from mssctl.models.run_config import RunConfig


class TFLocoformerArchitecture(Architecture):
    """Band-split for music by default; ``front_end: bins`` is the original, per bin."""

    config = TFLocoformerConfig
    tiny: ClassVar[Tree] = {
        "model": {
            "name": "tf_locoformer",
            "n_layers": 1,
            "emb_dim": 8,
            "attention_dim": 8,
            "n_heads": 2,
            "ffn_hidden_dim": [12, 12],
            "freqs_per_bands": "rule",
        },
        "stft": {"n_fft": 256, "hop_length": 64},
    }
    parts: ClassVar[Mapping[str, str]] = {
        "blocks": "activations of the blocks",
        "rope_freq": "activations of the blocks",
        "rope_time": "activations of the blocks",
        "encoder": "front end",
    }
    operations: ClassVar[Mapping[str, str]] = {
        "norm_before": "norm",
        "norm_attention": "norm",
        "norm_after": "norm",
        "rope": "RoPE",
        "attention": "attention",
        "ffn_before": "feed-forward, element-wise",
        "ffn_after": "feed-forward, element-wise",
        "freq_path": "residuals",
        "time_path": "residuals",
        "encoder": "bands",
        "decoder": "bands",
        "stft": "loss and transforms",
    }

    def build(self, config: RunConfig) -> Separator:
        """A `TFLocoformer`."""
        from mssctl.models.tf_locoformer.model import TFLocoformer

        return TFLocoformer(config)

    def attention(self, config: RunConfig) -> list[AttentionShape]:
        """Along bands (or bins), and along frames."""
        from mssctl.models.tf_locoformer.memory import shape_of

        model, shape = TFLocoformerConfig.of(config), shape_of(config)
        heads, head = model.n_heads, model.attention_dim // model.n_heads
        return [
            AttentionShape("bands", heads, shape.rows, head),
            AttentionShape("frames", heads, shape.frames, head),
        ]

    def closed_form(self) -> ClosedForm:
        """About 3 % from what `fake_step` finds."""
        from mssctl.models.tf_locoformer.memory import LocoformerMemory

        return LocoformerMemory()

    def notes(self, config: RunConfig, attention: str | None) -> list[str]:
        """What a per-bin model costs, and what the math kernel keeps."""
        from mssctl.models.tf_locoformer.memory import notes

        return notes(config, attention)

    def smaller(self, config: RunConfig) -> Iterator[tuple[str, Sequence[Sequence[str]]]]:
        """A model per bin: bands instead, or fewer bins."""
        if TFLocoformerConfig.of(config).front_end == "bands":
            return
        kinds = ("bands62", "rule")
        changes = [["model.front_end=bands", f"model.freqs_per_bands={kind}"] for kind in kinds]
        yield "front_end bands (62 rows per frame)", changes
        half = config.stft.n_fft // 2
        if half >= 2048:
            hop = min(config.stft.hop_length, half // 2)
            yield f"n_fft {half}, hop {hop}", [[f"stft.n_fft={half}", f"stft.hop_length={hop}"]]

    def foreign_presets(self) -> Sequence[ForeignPreset]:
        """Of older training scripts."""
        from mssctl.models.tf_locoformer.foreign import SCRIPTS

        return (SCRIPTS,)

    def layouts(self) -> Mapping[str, Layout]:
        """The band-split form first: its mark is the more particular."""
        from mssctl.models.tf_locoformer.official import LAYOUTS

        return LAYOUTS
