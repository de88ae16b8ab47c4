"""The section ``model`` of Spleeter."""

from typing import Literal

from mssctl.config.model import ModelSection
from mssctl.config.schema import AudioConfig, STFTConfig
from mssctl.config.section import Few, Size, field


class SpleeterConfig(ModelSection):
    """Spleeter (Hennequin et al., JOSS 2020): a U-Net on magnitudes per stem; not for training."""

    name: Literal["spleeter"] = field("spleeter", doc="The architecture.")
    bins: Size = field(1024, unit="bins", doc="Lowest bins that the network sees; others are 0.")
    frames: Size = field(512, unit="frames", doc="Frames that the network sees at once.")
    width: Few = field(16, unit="features", doc="Features of the first layer; each next has twice.")

    def check(self, audio: AudioConfig, stft: STFTConfig) -> None:
        """Bins and frames can be halved six times."""
        if self.bins % 64 or self.frames % 64:
            raise ValueError("model.bins and model.frames must be multiples of 64")
        if self.bins > stft.n_fft // 2 + 1:
            raise ValueError("model.bins: n_fft has fewer")
