"""Weights of BS-RoFormer in the layout of public training scripts."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mssctl.models import msst
from mssctl.models import roformer_official as shared
from mssctl.models.bands import band_widths
from mssctl.models.bs_roformer.config import BSRoformerConfig
from mssctl.models.layouts import Layout, Source
from mssctl.models.run_config import RunConfig


def _translate(config: Mapping[str, Any], source: Source) -> RunConfig:
    bins = msst.given(config).get("stft_n_fft", 2048) // 2 + 1
    channels = shared.channels(config, source, bins)
    widths = [size // (2 * channels) for size in shared.band_inputs(source)]
    model = {"name": "bs_roformer", "freqs_per_bands": widths}
    return shared.translate(config, source, model, channels, mask_layers=0)


def _collect(source: Source, config: RunConfig) -> dict[str, Tensor]:
    model = BSRoformerConfig.of(config)
    widths = band_widths(model.freqs_per_bands, config.audio.sample_rate, config.stft.n_fft)
    return shared.collect(source, config, model, widths)


LAYOUTS = {
    "bs_roformer": Layout(
        "layers.0.0.layers.0.0.to_qkv.weight",
        _translate,
        _collect,
        unless="layers.0.0.norm.",
        assumed=shared.ASSUMED,
    )
}
