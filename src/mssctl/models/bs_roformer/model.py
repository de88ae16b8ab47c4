"""BS-RoFormer: bands side by side, from fine at the bottom to wide at the top."""

from mssctl.models.bands import band_widths
from mssctl.models.bs_roformer.config import BSRoformerConfig
from mssctl.models.roformer import Roformer
from mssctl.models.run_config import RunConfig


class BSRoformer(Roformer):
    """See `Roformer`."""

    def __init__(self, config: RunConfig) -> None:
        model = BSRoformerConfig.of(config)
        widths = band_widths(model.freqs_per_bands, config.audio.sample_rate, config.stft.n_fft)
        super().__init__(config, model, widths)
