"""Weights of the official Locoformers: ``tf_locoformer`` per bin, ``bs_locoformer`` band-split."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mssctl.errors import ExitCode, MssctlError
from mssctl.models.bands import band_widths, bands_of_runs
from mssctl.models.layouts import Layout, Source, linears, stem_count, vectors
from mssctl.models.run_config import RunConfig, parse
from mssctl.models.tf_locoformer.config import TFLocoformerConfig


def _locoformer_config(config: Mapping[str, Any], *, bands: bool) -> RunConfig:
    """Our configuration from the official names of either Locoformer."""
    config = {**config, **config.get("model", {})}
    needed = ("emb_dim", "n_layers", "n_heads", "ffn_hidden_dim", "conv1d_kernel", "num_groups")
    for key in needed:
        if key not in config:
            raise MssctlError(
                f"the configuration has no '{key}'",
                hint="give the YAML file that belongs to these weights with --config",
                exit_code=ExitCode.ENVIRONMENT,
            )
    masking = bool(config.get("masking", bands))
    dim = config["emb_dim"]
    sample_rate = config.get("sample_rate", 44_100)
    model = {
        "name": "tf_locoformer",
        "front_end": "bands" if bands else "bins",
        "freqs_per_bands": "rule",
        "n_layers": config["n_layers"],
        "emb_dim": dim,
        "attention_dim": config.get("attention_dim", dim),
        "n_heads": config["n_heads"],
        "ffn_hidden_dim": list(config["ffn_hidden_dim"]),  # before, after attention
        "conv1d_kernel": config["conv1d_kernel"],
        "num_groups": config["num_groups"],
        "eps": config.get("eps", 1e-5),
        "dropout": config.get("dropout", 0.0),
        "pos_enc": config.get("pos_enc", "rope"),
        "tf_order": config.get("tf_order", "ft"),
        "masking": "complex" if masking else "mapping",
    }
    n_fft = config.get("stft_size", config.get("n_fft", 2048))
    hop = config.get("stft_shift", config.get("hop_length", n_fft // 4))
    speakers = range(stem_count(config.get("num_spk", 2)))
    stems = config.get("stems", [f"stem{index + 1}" for index in speakers])
    stereo = bool(config.get("stereo", False))
    return parse(
        {
            "audio": {"sample_rate": sample_rate, "channels": 1 + stereo, "stems": stems},
            "stft": {"n_fft": n_fft, "hop_length": hop},
            "model": model,
        },
        "official configuration",
    )


def _collect_blocks(source: Source, config: RunConfig) -> dict[str, Tensor]:
    """The TF blocks, which both Locoformers share.

    The official lists are built back to front: feed-forward 1 is the one before attention.
    """
    model, ours = TFLocoformerConfig.of(config), dict[str, Tensor]()
    for layer in range(model.n_layers):
        for mine, theirs in (("freq_path", "freq_path"), ("time_path", "frame_path")):
            new, old = f"blocks.{layer}.{mine}", f"blocks.{layer}.{theirs}"
            for place, index in (("before", 1), ("after", 0)):
                ours[f"{new}.norm_{place}.gain"] = source(f"{old}.ffn_norm.{index}.gamma")
                for kind in ("weight", "bias"):
                    ffn, official = f"{new}.ffn_{place}", f"{old}.ffn.{index}"
                    ours[f"{ffn}.conv.{kind}"] = source(f"{official}.conv1d.{kind}")
                    ours[f"{ffn}.deconv.{kind}"] = source(f"{official}.deconv1d.{kind}")
            ours[f"{new}.norm_attention.gain"] = source(f"{old}.attn_norm.gamma")
            ours[f"{new}.attention.qkv.weight"] = source(f"{old}.attn.qkv.weight")
            ours[f"{new}.attention.out.weight"] = source(f"{old}.attn.aggregate_heads.0.weight")
            if model.pos_enc == "rope":
                # One rotary table per axis; the official file repeats it in each layer.
                ours[f"rope_{mine.removesuffix('_path')}.freqs"] = source(f"{old}.attn.rope.freqs")
    return ours


def _collect_bins(source: Source, config: RunConfig) -> dict[str, Tensor]:
    ours = _collect_blocks(source, config)
    for kind in ("weight", "bias"):
        ours[f"encoder.conv.{kind}"] = source(f"conv.0.{kind}")
        ours[f"encoder.norm.{kind}"] = source(f"conv.1.{kind}")
        ours[f"decoder.deconv.{kind}"] = source(f"deconv.{kind}")
    return ours


def _collect_bands(source: Source, config: RunConfig) -> dict[str, Tensor]:
    ours = _collect_blocks(source, config)
    bands = TFLocoformerConfig.of(config).freqs_per_bands
    widths = band_widths(bands, config.audio.sample_rate, config.stft.n_fft)
    split = "band_split_module.band_split_module"
    mask = "band_split_module.bandwise_decoding_module"
    for run, of_run in enumerate(bands_of_runs(widths)):
        ours[f"encoder.gain.{run}"] = vectors(source, f"{split}.{{}}.0.weight", of_run)
        ours[f"encoder.shift.{run}"] = vectors(source, f"{split}.{{}}.0.bias", of_run)
        ours |= linears(source, f"encoder.linear.{run}", f"{split}.{{}}.1", of_run)
        ours |= linears(source, f"decoder.last.{run}", f"{mask}.{{}}.{_LAST}", of_run)
    everything = range(len(widths))
    ours["decoder.gain"] = vectors(source, f"{mask}.{{}}.0.weight", everything)
    ours["decoder.shift"] = vectors(source, f"{mask}.{{}}.0.bias", everything)
    for name, place in (("first", _FIRST), ("second", _SECOND)):
        ours |= linears(source, f"decoder.{name}", f"{mask}.{{}}.{place}", everything)
    return ours


# Places of the convolutions in the official sequential band decoder (norm is 0, tanh between).
_FIRST, _SECOND, _LAST = 1, 3, 4


LAYOUTS = {
    "bs_locoformer": Layout(
        "band_split_module.",
        lambda config, _: _locoformer_config(config, bands=True),
        _collect_bands,
    ),
    "tf_locoformer": Layout(
        "deconv.", lambda config, _: _locoformer_config(config, bands=False), _collect_bins
    ),
}
