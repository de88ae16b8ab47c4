"""The section ``model`` of Mel-Band RoFormer."""

from typing import Annotated, Literal

from pydantic import Field

from mssctl.config.schema import AudioConfig, STFTConfig
from mssctl.config.section import field
from mssctl.models.mel_band_roformer.bands import mel_bands
from mssctl.models.roformer_config import RoformerConfig


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
