"""Weights of the RoFormers in the layout of public training scripts (lucidrains 0.3, MSST)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mssctl.errors import MssctlError
from mssctl.models import msst
from mssctl.models.bands import band_widths, bands_of_runs
from mssctl.models.layouts import Layout, Source, linears, stem_count, vectors
from mssctl.models.roformer.config import BSRoformerConfig, MelBandRoformerConfig, RoformerConfig
from mssctl.models.roformer.mel_bands import mel_bands
from mssctl.models.run_config import RunConfig, parse

# Our names of the tensors of a layer, and the official ones.
_LAYER = {
    "norm_attention.gain": "0.norm.gamma",
    "attention.qkv.weight": "0.to_qkv.weight",
    "attention.gates.weight": "0.to_gates.weight",
    "attention.gates.bias": "0.to_gates.bias",
    "attention.out.weight": "0.to_out.0.weight",
    "norm_ffn.gain": "1.net.0.gamma",
    "ffn.up.weight": "1.net.1.weight",
    "ffn.up.bias": "1.net.1.bias",
    "ffn.down.weight": "1.net.4.weight",
    "ffn.down.bias": "1.net.4.bias",
}
_HOP = 441  # of most published models; a file that leaves it out means 512
ASSUMED = f"hop length {_HOP}, the lowest bin silenced"
_FIRST = "layers.0.0.layers.0"


def _translate(
    config: Mapping[str, Any],
    source: Source,
    model: dict[str, Any],
    channels: int,
    mask_layers: int,
) -> RunConfig:
    """Our configuration: sizes from the tensors, the rest from the official names.

    Args:
        config: the whole YAML file, or the constructor's arguments.
        source: the tensors.
        model: what is particular to one architecture.
        channels: of the audio.
        mask_layers: linear maps of the mask decoder beyond its stated depth.

    Raises:
        MssctlError: a variant that is not computed here.
    """
    given = msst.given(config)
    msst.refuse(
        given, linear_transformer_depth=0, use_shared_bias=False, use_pope=False,
        stft_window_fn=None,
    )  # fmt: skip
    n_fft = given.get("stft_n_fft", 2048)
    msst.refuse(given, stft_win_length=n_fft)
    dim = source("band_split.to_features.0.1.weight").shape[0]
    heads = source(f"{_FIRST}.0.to_gates.weight").shape[0]
    first = "mask_estimators.0.to_freqs.0.0"
    layers = (source.count(first) + 1) // 2  # a tanh between them has a number, too
    hidden = dim * given.get("mlp_expansion_factor", 4)
    if layers > 1:
        hidden = source(f"{first}.0.weight").shape[0]
    outputs = stem_count(source.count("mask_estimators"))
    return parse(
        {
            "stft": {
                "n_fft": n_fft,
                "hop_length": given.get("stft_hop_length", 512 if given else _HOP),
            },
            "model": {
                "n_layers": source.count("layers"),
                "time_depth": source.count("layers.0.0.layers"),
                "band_depth": source.count("layers.0.1.layers"),
                "emb_dim": dim,
                "n_heads": heads,
                "dim_head": source(f"{_FIRST}.0.to_qkv.weight").shape[0] // (3 * heads),
                "ffn_expansion": source(f"{_FIRST}.1.net.1.bias").shape[0] // dim,
                "mask_depth": layers - mask_layers,
                "mask_expansion": max(1, hidden // dim),
                "dropout": float(given.get("attn_dropout", 0.0)),
                "skip_connection": given.get("skip_connection", False),
                "zero_dc": given.get("zero_dc", True),
                **model,
            },
            **msst.sections(config, outputs, channels),
        },
        "official configuration",
    )


def _band_inputs(source: Source) -> list[int]:
    """Numbers of a frame that go into each band: two for each bin of each channel."""
    bands = range(source.count("band_split.to_features"))
    return [source(f"band_split.to_features.{band}.0.gamma").shape[0] for band in bands]


def _channels(config: Mapping[str, Any], source: Source, bins: int) -> int:
    """Audio channels: as the configuration says, or as many as fit.

    Args:
        config: the whole YAML file, or the constructor's arguments.
        source: the tensors.
        bins: of all bands.
    """
    stereo = msst.given(config).get("stereo")
    if stereo is None:
        return max(1, sum(_band_inputs(source)) // (2 * bins))
    return 2 if stereo else 1


def _collect(
    source: Source, config: RunConfig, model: RoformerConfig, widths: Sequence[int]
) -> dict[str, Tensor]:
    """The official tensors under our names.

    Raises:
        MssctlError: layers with rotary frequencies of their own.
    """
    ours = {"rope.freqs": _frequencies(source)} | _layers(source, model)
    maps = model.mask_layers
    stems = range(len(config.audio.outputs))
    for run, bands in enumerate(bands_of_runs(widths)):
        split = "band_split.to_features.{}"
        ours[f"encoder.norm.{run}.gain"] = vectors(source, f"{split}.0.gamma", bands)
        ours |= linears(source, f"encoder.linear.{run}", f"{split}.1", bands)
        for stem in stems:
            mask = f"mask_estimators.{stem}.to_freqs.{{}}.0.{2 * (maps - 1)}"
            ours |= linears(source, f"masks.{stem}.last.{run}", mask, bands)
    names = ["first", *(f"middle.{index}" for index in range(maps - 2))][: maps - 1]
    for stem in stems:
        for index, name in enumerate(names):
            mask = f"mask_estimators.{stem}.to_freqs.{{}}.0.{2 * index}"
            ours |= linears(source, f"masks.{stem}.{name}", mask, range(len(widths)))
    return ours


def _layers(source: Source, model: RoformerConfig) -> dict[str, Tensor]:
    ours = {}
    for layer in range(model.n_layers):
        for index, path, depth in ((0, "time", model.time_depth), (1, "band", model.band_depth)):
            new, old = f"blocks.{layer}.{path}_path", f"layers.{layer}.{index}"
            for inner in range(depth):
                for name, official in _LAYER.items():
                    tensor = source(f"{old}.layers.{inner}.{official}")
                    ours[f"{new}.layers.{inner}.{name}"] = tensor
            if model.norm_paths:
                ours[f"{new}.norm.gain"] = source(f"{old}.norm.gamma")
    if not model.norm_paths:
        ours["norm.gain"] = source("final_norm.gamma")
    return ours


def _frequencies(source: Source) -> Tensor:
    """Every attention has a copy of them; one is kept."""
    names = [name for name in source.state if name.endswith(".rotary_embed.freqs")]
    first = source(f"{_FIRST}.0.rotary_embed.freqs")
    for name in names:
        if not torch.allclose(source(name), first, rtol=1e-3):  # float16 files exist
            raise MssctlError(f"{source.layout}: '{name}' differs from that of the first layer")
    return first


# --- the two layouts


def _translate_bs(config: Mapping[str, Any], source: Source) -> RunConfig:
    bins = msst.given(config).get("stft_n_fft", 2048) // 2 + 1
    channels = _channels(config, source, bins)
    widths = [size // (2 * channels) for size in _band_inputs(source)]
    model = {"name": "bs_roformer", "freqs_per_bands": widths}
    return _translate(config, source, model, channels, mask_layers=0)


def _collect_bs(source: Source, config: RunConfig) -> dict[str, Tensor]:
    model = BSRoformerConfig.of(config)
    widths = band_widths(model.freqs_per_bands, config.audio.sample_rate, config.stft.n_fft)
    return _collect(source, config, model, widths)


def _translate_mel(config: Mapping[str, Any], source: Source) -> RunConfig:
    given, bands = msst.given(config), len(_band_inputs(source))
    rate = msst.sample_rate(config)
    bins = sum(map(len, mel_bands(rate, given.get("stft_n_fft", 2048), bands)))
    model = {"name": "mel_band_roformer", "num_bands": bands}
    channels = _channels(config, source, bins)
    return _translate(config, source, model, channels, mask_layers=1)


def _collect_mel(source: Source, config: RunConfig) -> dict[str, Tensor]:
    model = MelBandRoformerConfig.of(config)
    bands = mel_bands(config.audio.sample_rate, config.stft.n_fft, model.num_bands)
    return _collect(source, config, model, [len(band) for band in bands])


_MARK = "layers.0.0.layers.0.0.to_qkv.weight"
LAYOUTS = {
    "bs_roformer": Layout(
        _MARK, _translate_bs, _collect_bs, unless="layers.0.0.norm.", assumed=ASSUMED
    ),
    "mel_band_roformer": Layout(
        _MARK, _translate_mel, _collect_mel, unless="final_norm.", assumed=ASSUMED
    ),
}
