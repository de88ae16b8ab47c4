"""The section ``model`` of BS-RoFormer."""

from typing import Literal

from mssctl.config.schema import AudioConfig, STFTConfig
from mssctl.config.section import field
from mssctl.models.bands_config import Bands, bands_field, check_bands
from mssctl.models.roformer_config import RoformerConfig


class BSRoformerConfig(RoformerConfig):
    """BS-RoFormer (arXiv:2309.02612): transformers with rotary embedding over frequency bands."""

    name: Literal["bs_roformer"] = field("bs_roformer", doc="The architecture.")
    freqs_per_bands: Bands = bands_field()

    def check(self, audio: AudioConfig, stft: STFTConfig) -> None:
        """The bands are those of the transform."""
        check_bands(self.freqs_per_bands, stft)
