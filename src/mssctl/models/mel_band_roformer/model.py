"""Mel-Band RoFormer: a bin in two bands gets the mean of both masks."""

import torch
from torch import Tensor

from mssctl.models.mel_band_roformer.bands import mel_bands
from mssctl.models.mel_band_roformer.config import MelBandRoformerConfig
from mssctl.models.roformer import Roformer
from mssctl.models.run_config import RunConfig


class MelBandRoformer(Roformer):
    """See `Roformer`; the bands overlap."""

    bins: Tensor
    first: Tensor
    last: Tensor

    def __init__(self, config: RunConfig) -> None:
        model = MelBandRoformerConfig.of(config)
        bands = mel_bands(config.audio.sample_rate, config.stft.n_fft, model.num_bands)
        super().__init__(config, model, [len(band) for band in bands])
        bins = [bin_ for band in bands for bin_ in band]
        # A bin is in neighboring bands only: its first and its last place are all it has.
        last = {bin_: place for place, bin_ in enumerate(bins)}
        first = {bin_: len(bins) - 1 - place for place, bin_ in enumerate(reversed(bins))}
        self.register_buffer("bins", torch.tensor(bins), persistent=False)
        for name, places in (("first", first), ("last", last)):
            by_bin = torch.tensor([places[bin_] for bin_ in range(len(places))])
            self.register_buffer(name, by_bin, persistent=False)

    def gathered(self, spec: Tensor) -> Tensor:
        """The bins of all bands, one band after the other."""
        return spec[:, :, self.bins]

    def scattered(self, mask: Tensor) -> Tensor:
        """The mean over the one or two places of each bin."""
        return (mask[:, :, self.first] + mask[:, :, self.last]) / 2
