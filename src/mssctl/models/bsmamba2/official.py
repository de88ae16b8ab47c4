"""Weights of the official BSMamba2."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mssctl.models import msst
from mssctl.models.bands import band_widths, bands_of_runs
from mssctl.models.bsmamba2.config import BSMamba2Config
from mssctl.models.layouts import Layout, Source, linears, stem_count, vectors
from mssctl.models.run_config import RunConfig, parse


def _bsmamba2_config(config: Mapping[str, Any], source: Source) -> RunConfig:
    """Our configuration from the official names; sizes that are not given, from the tensors."""
    given = msst.given(config)
    mixer = "layers.0.0.forward_blocks.0.mixer"
    conv = source(f"{mixer}.conv1d.weight")
    dim = given.get("dim", source("final_norm.gamma").shape[0])
    inner, heads = source(f"{mixer}.norm.weight").shape[0], source(f"{mixer}.A_log").shape[0]
    hidden = source("mask_estimators.0.to_freqs.0.0.0.weight").shape[0]
    channels = 2 if given.get("stereo", True) else 1
    bands = range(source.count("band_split.to_features"))
    sizes = [source(f"band_split.to_features.{band}.0.gamma").shape[0] for band in bands]
    widths = [size // (2 * channels) for size in sizes]
    stems = stem_count(given.get("num_stems", source.count("mask_estimators")))
    model = {
        "name": "bsmamba2",
        "freqs_per_bands": widths,
        "n_layers": given.get("depth", source.count("layers")),
        "emb_dim": dim,
        "expand": given.get("expand", inner // dim),
        "d_state": given.get("d_state", (conv.shape[0] - inner) // 2),
        "d_conv": conv.shape[-1],
        "headdim": given.get("headdim", inner // heads),
        "mask_expansion": hidden // dim,
    }
    n_fft = given.get("stft_n_fft", 2 * (sum(widths) - 1))
    return parse(
        {
            "stft": {"n_fft": n_fft, "hop_length": given.get("stft_hop_length", 441)},
            "model": model,
            **_with_published_length(msst.sections(config, stems, channels)),
        },
        "official configuration",
    )


def _with_published_length(sections: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {**sections, "training": {"segment_length": 352_800, **sections["training"]}}


# Our names of the tensors of one direction of a path, and the official ones.
_DIRECTION = {
    "norm.gain": "norm.weight",
    "mixer.in_proj.weight": "mixer.in_proj.weight",
    "mixer.conv.weight": "mixer.conv1d.weight",
    "mixer.conv.bias": "mixer.conv1d.bias",
    "mixer.dt_bias": "mixer.dt_bias",
    "mixer.A_log": "mixer.A_log",
    "mixer.D": "mixer.D",
    "mixer.norm.gain": "mixer.norm.weight",
    "mixer.out_proj.weight": "mixer.out_proj.weight",
}


def _collect_bsmamba2(source: Source, config: RunConfig) -> dict[str, Tensor]:
    model = BSMamba2Config.of(config)
    ours = {"norm.gain": source("final_norm.gamma")}
    for layer in range(model.n_layers):
        for index, mine in enumerate(("time_path", "band_path")):
            new, old = f"blocks.{layer}.{mine}", f"layers.{layer}.{index}"
            # (2·D, D, 1): the first half of the inputs is the forward direction.
            halves = source(f"{old}.linear.weight")[..., 0].chunk(2)
            ours[f"{new}.bias"] = source(f"{old}.linear.bias")
            for way, half, kept in zip(
                ("ahead", "back"), ("forward", "backward"), halves, strict=True
            ):
                ours[f"{new}.{way}.join.weight"] = kept.T.contiguous()
                for name, official in _DIRECTION.items():
                    ours[f"{new}.{way}.{name}"] = source(f"{old}.{half}_blocks.0.{official}")
    widths = band_widths(model.freqs_per_bands, config.audio.sample_rate, config.stft.n_fft)
    for run, bands in enumerate(bands_of_runs(widths)):
        split = "band_split.to_features.{}"
        ours[f"encoder.norm.{run}.gain"] = vectors(source, f"{split}.0.gamma", bands)
        ours |= linears(source, f"encoder.linear.{run}", f"{split}.1", bands)
        for stem in range(len(config.audio.outputs)):
            mask = f"mask_estimators.{stem}.to_freqs.{{}}.0.2"
            ours |= linears(source, f"masks.{stem}.last.{run}", mask, bands)
    for stem in range(len(config.audio.outputs)):
        mask = f"mask_estimators.{stem}.to_freqs.{{}}.0.0"
        ours |= linears(source, f"masks.{stem}.first", mask, range(len(widths)))
    return ours


LAYOUTS = {"bsmamba2": Layout("layers.0.0.forward_blocks.", _bsmamba2_config, _collect_bsmamba2)}
