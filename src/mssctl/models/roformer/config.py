"""The sections ``model`` of the RoFormers, and what they share."""

from typing import Annotated, Literal

from pydantic import Field

from mssctl.config.model import ModelSection
from mssctl.config.schema import AudioConfig, STFTConfig
from mssctl.config.section import Few, Layers, Width, field
from mssctl.models.bands_config import Bands, bands_field, check_bands
from mssctl.models.roformer.mel_bands import mel_bands


class RoformerConfig(ModelSection):
    """A RoFormer: transformers with rotary embedding, along time and along bands in turn."""

    n_layers: Layers = field(8, unit="layers", doc="Blocks, each along time and along bands.")
    time_depth: Few = field(1, unit="layers", doc="Layers of a block along time.")
    band_depth: Few = field(1, unit="layers", doc="Layers of a block along bands.")
    emb_dim: Width = field(384, unit="features", doc="Features of a band.")
    n_heads: Few = field(8, unit="heads", doc="Heads of attention.")
    dim_head: Annotated[int, Field(ge=2, le=1024, multiple_of=2)] = field(
        64, unit="features", doc="Features of a head."
    )
    ffn_expansion: Few = field(
        4, unit="1", doc="Hidden features of a feed-forward, as a multiple of `emb_dim`."
    )
    mask_depth: Few = field(2, unit="layers", doc="Depth of the mask decoder.")
    mask_expansion: Few = field(
        4, unit="1", doc="Hidden features of the mask decoder, as a multiple of `emb_dim`."
    )
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = field(
        0.0, unit="probability", doc="Dropout of attention and feed-forwards."
    )
    skip_connection: bool = field(
        False, doc="Add what all earlier blocks gave to the input of each block."
    )
    zero_dc: bool = field(True, doc="Silence the lowest bin of the output.")

    @property
    def norm_paths(self) -> bool:
        """Whether each transformer ends with a norm, and not the last block alone."""
        return False

    @property
    def mask_layers(self) -> int:
        """Linear maps of the mask decoder."""
        return self.mask_depth


class BSRoformerConfig(RoformerConfig):
    """BS-RoFormer (arXiv:2309.02612): transformers with rotary embedding over frequency bands."""

    name: Literal["bs_roformer"] = field("bs_roformer", doc="The architecture.")
    freqs_per_bands: Bands = bands_field()

    def check(self, audio: AudioConfig, stft: STFTConfig) -> None:
        """The bands are those of the transform."""
        check_bands(self.freqs_per_bands, stft)


class MelBandRoformerConfig(RoformerConfig):
    """Mel-Band RoFormer (arXiv:2310.01809): bands that overlap, of equal width in mel."""

    name: Literal["mel_band_roformer"] = field("mel_band_roformer", doc="The architecture.")
    num_bands: Annotated[int, Field(ge=2, le=512)] = field(
        60, unit="bands", doc="Bands; each bin is in one or two of them."
    )

    @property
    def norm_paths(self) -> bool:
        """Each transformer ends with a norm."""
        return True

    @property
    def mask_layers(self) -> int:
        """One linear map more than the depth that public configurations state."""
        return self.mask_depth + 1

    def check(self, audio: AudioConfig, stft: STFTConfig) -> None:
        """Each band has bins of the transform."""
        mel_bands(audio.sample_rate, stft.n_fft, self.num_bands)
