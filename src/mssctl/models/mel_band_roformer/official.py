"""Weights of Mel-Band RoFormer in the layout of public training scripts."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mssctl.models import roformer_official as shared
from mssctl.models.layouts import Layout, Source
from mssctl.models.mel_band_roformer.bands import mel_bands
from mssctl.models.mel_band_roformer.config import MelBandRoformerConfig
from mssctl.models.run_config import RunConfig


def _translate(config: Mapping[str, Any], source: Source) -> RunConfig:
    bands = source.count("band_split.to_features")
    model = {"name": "mel_band_roformer", "num_bands": bands}
    return shared.translate(config, source, model, mask_layers=1)


def _collect(source: Source, config: RunConfig) -> dict[str, Tensor]:
    model = MelBandRoformerConfig.of(config)
    bands = mel_bands(config.audio.sample_rate, config.stft.n_fft, model.num_bands)
    return shared.collect(source, config, model, [len(band) for band in bands])


LAYOUTS = {
    "mel_band_roformer": Layout(
        "layers.0.0.layers.0.0.to_qkv.weight", _translate, _collect, unless="final_norm."
    )
}
