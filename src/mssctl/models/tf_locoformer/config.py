"""The section ``model`` of TF-Locoformer."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mssctl.config.model import ModelSection
from mssctl.config.schema import AudioConfig, STFTConfig
from mssctl.config.section import Few, Layers, Positive, Size, Width, field
from mssctl.models.bands_config import Bands, bands_field, check_bands


class TFLocoformerConfig(ModelSection):
    """TF-Locoformer (arXiv:2408.03440), per band (default) or per bin."""

    name: Literal["tf_locoformer"] = field("tf_locoformer", doc="The architecture.")
    front_end: Literal["bands", "bins"] = field(
        "bands", doc="What attention runs over: bands of frequencies, or every bin."
    )
    freqs_per_bands: Bands = bands_field()
    n_layers: Layers = field(6, unit="layers", doc="Blocks, each along frequency and along time.")
    emb_dim: Width = field(96, unit="features", doc="Features of a band or bin.")
    attention_dim: Width = field(96, unit="features", doc="Features of queries, keys and values.")
    n_heads: Few = field(6, unit="heads", doc="Heads of attention.")
    ffn_hidden_dim: tuple[Size, Size] = field(
        (384, 384), unit="features", doc="Hidden sizes of the feed-forward before and after it."
    )
    conv1d_kernel: Few = field(4, unit="steps", doc="Length of the feed-forwards' convolutions.")
    num_groups: Width = field(4, unit="groups", doc="Groups of the RMS group norm.")
    eps: Positive = field(1e-5, unit="1", doc="Added to the variance in the norms.")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = field(
        0.0, unit="probability", doc="Dropout of attention and feed-forwards."
    )
    pos_enc: Literal["rope", "nope"] = field(
        "rope", doc="Positions in attention: rotary embedding, or none."
    )
    tf_order: Literal["ft", "tf"] = field("ft", doc="Frequency before time in a block, or after.")
    masking: Literal["complex", "mapping"] = field(
        "complex", doc="Estimate a complex mask, or the spectrogram itself."
    )
    mask_mlp: Literal["standalone", "mixit", "tuss"] = field(
        "standalone",
        doc="Where the band decoder has its tanh: after the first layer, the second (`mixit`) or "
        "both (`tuss`).",
    )
    mask_expansion: Few = field(
        4, unit="1", doc="Hidden features of the band decoder, as a multiple of `emb_dim`."
    )
    normalize: bool = field(
        True, doc="Scale each input to a root mean square of 1, and the output back."
    )

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.emb_dim % self.num_groups:
            raise ValueError("emb_dim must be a multiple of num_groups")
        if self.attention_dim % (2 * self.n_heads):
            raise ValueError("attention_dim must be an even multiple of n_heads")
        return self

    def check(self, audio: AudioConfig, stft: STFTConfig) -> None:
        """The bands are those of the transform."""
        if self.front_end == "bands":
            check_bands(self.freqs_per_bands, stft)
