"""The section ``model`` of TF-Locoformer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mssctl.config.model import ModelSection
from mssctl.config.schema import AudioConfig, STFTConfig
from mssctl.config.section import Few, Layers, Positive, Size, Width
from mssctl.models.bands_config import Bands, check_bands


class TFLocoformerConfig(ModelSection):
    """TF-Locoformer (arXiv:2408.03440), per band (default) or per bin.

    ``ffn_hidden_dim`` lists the hidden sizes of the feed-forward before and after attention.
    ``freqs_per_bands`` is ``bands62`` (62 bands of the same Hz layout at n_fft 2048 and 4096),
    ``rule`` (bands computed from frequency ranges for any rate and n_fft) or explicit widths.
    ``mask_mlp`` is the place of the non-linearities in the band decoder: ``standalone``
    (tanh after the first layer), ``mixit`` (after the second) or ``tuss`` (after both).
    ``normalize`` scales each input to a root mean square of 1 and the output back.
    """

    name: Literal["tf_locoformer"] = "tf_locoformer"
    front_end: Literal["bands", "bins"] = "bands"
    freqs_per_bands: Bands = "bands62"
    n_layers: Layers = 6
    emb_dim: Width = 96
    attention_dim: Width = 96
    n_heads: Few = 6
    ffn_hidden_dim: tuple[Size, Size] = (384, 384)
    conv1d_kernel: Few = 4
    num_groups: Width = 4
    eps: Positive = 1e-5
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    pos_enc: Literal["rope", "nope"] = "rope"
    tf_order: Literal["ft", "tf"] = "ft"
    masking: Literal["complex", "mapping"] = "complex"
    mask_mlp: Literal["standalone", "mixit", "tuss"] = "standalone"
    mask_expansion: Few = 4
    normalize: bool = True

    @model_validator(mode="after")
    def _divides(self) -> TFLocoformerConfig:
        if self.emb_dim % self.num_groups:
            raise ValueError("emb_dim must be a multiple of num_groups")
        if self.attention_dim % (2 * self.n_heads):
            raise ValueError("attention_dim must be an even multiple of n_heads")
        return self

    def check(self, audio: AudioConfig, stft: STFTConfig) -> None:
        """The bands are those of the transform."""
        if self.front_end == "bands":
            check_bands(self.freqs_per_bands, stft)
