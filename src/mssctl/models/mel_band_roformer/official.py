"""Weights of Mel-Band RoFormer in the layout of public training scripts."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mssctl.models import msst
from mssctl.models import roformer_official as shared
from mssctl.models.layouts import Layout, Source
from mssctl.models.mel_band_roformer.bands import mel_bands
from mssctl.models.mel_band_roformer.config import MelBandRoformerConfig
from mssctl.models.run_config import RunConfig


def _translate(config: Mapping[str, Any], source: Source) -> RunConfig:
    given, bands = msst.given(config), len(shared.band_inputs(source))
    rate = msst.sample_rate(config)
    bins = sum(map(len, mel_bands(rate, given.get("stft_n_fft", 2048), bands)))
    model = {"name": "mel_band_roformer", "num_bands": bands}
    channels = shared.channels(config, source, bins)
    return shared.translate(config, source, model, channels, mask_layers=1)


def _collect(source: Source, config: RunConfig) -> dict[str, Tensor]:
    model = MelBandRoformerConfig.of(config)
    bands = mel_bands(config.audio.sample_rate, config.stft.n_fft, model.num_bands)
    return shared.collect(source, config, model, [len(band) for band in bands])


LAYOUTS = {
    "mel_band_roformer": Layout(
        "layers.0.0.layers.0.0.to_qkv.weight",
        _translate,
        _collect,
        unless="final_norm.",
        assumed=shared.ASSUMED,
    )
}
