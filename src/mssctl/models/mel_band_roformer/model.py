"""Mel-Band RoFormer: a bin in two bands gets the mean of both masks."""

import numpy as np
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
        bins = np.concatenate(bands)
        order = np.argsort(bins, kind="stable")
        _, first, count = np.unique(bins[order], return_index=True, return_counts=True)
        # A bin is in neighboring bands only: its first and its last place are all it has.
        for name, values in (
            ("bins", bins),
            ("first", order[first]),
            ("last", order[first + count - 1]),
        ):
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def gathered(self, spec: Tensor) -> Tensor:
        """The bins of all bands, one band after the other."""
        return spec[:, :, self.bins]

    def scattered(self, mask: Tensor) -> Tensor:
        """The mean over the one or two places of each bin."""
        return (mask[:, :, self.first] + mask[:, :, self.last]) / 2
