"""Weights of the official implementations, under their key layouts, loaded into our modules.

Each layout is a table of how one of our tensors is made from official ones, so a missing or
surplus key can be named. The key layouts are facts read from published checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mssctl.config.parse import parse
from mssctl.config.schema import RunConfig
from mssctl.errors import ExitCode, MssctlError
from mssctl.models.bands import band_widths, equal_runs
from mssctl.models.base import Separator
from mssctl.models.registry import build

State = Mapping[str, Tensor]


def load(state: State, layout: str, config: Mapping[str, Any]) -> Separator:
    """Build the separator an official state dict belongs to, in eval mode.

    Args:
        state: the official tensors by their official names.
        layout: ``tf_locoformer`` (per bin, mapping) or ``bs_locoformer`` (band-split).
        config: the official configuration, under its own names.

    Raises:
        MssctlError: unknown layout, a missing or surplus key, or a shape that does not fit.
    """
    if layout not in LAYOUTS:
        raise MssctlError(
            f"unknown layout '{layout}'",
            hint=f"known: {', '.join(LAYOUTS)}",
            exit_code=ExitCode.USAGE,
        )
    translate, collect = LAYOUTS[layout]
    run = translate(config)
    separator = build(run)
    source = _Source(state, layout)
    ours = collect(source, run)
    source.assert_all_used()
    for name, parameter in separator.named_parameters():
        if ours[name].shape != parameter.shape:
            raise MssctlError(
                f"{layout}: {name} should be {tuple(parameter.shape)}, "
                f"the file gives {tuple(ours[name].shape)}",
                hint="does the configuration belong to this file?",
            )
    separator.load_state_dict(ours)
    return separator.eval()


class _Source:
    """The official tensors; remembers which were used, so that none is lost silently."""

    def __init__(self, state: State, layout: str) -> None:
        self.state, self.layout = dict(state), layout
        self.used: set[str] = set()

    def __call__(self, key: str) -> Tensor:
        if key not in self.state:
            raise MssctlError(
                f"{self.layout}: key '{key}' is missing",
                hint="is this the right layout and configuration?",
            )
        self.used.add(key)
        return self.state[key]

    def assert_all_used(self) -> None:
        surplus = sorted(set(self.state) - self.used)
        if surplus:
            shown = ", ".join(surplus[:5]) + (" ..." if len(surplus) > 5 else "")
            raise MssctlError(
                f"{self.layout}: {len(surplus)} surplus key(s): {shown}",
                hint="is this the right layout and configuration?",
            )


def _locoformer_config(config: Mapping[str, Any], *, bands: bool) -> RunConfig:
    """Our configuration from the official names of either Locoformer."""
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
    stems = config.get("stems", [f"stem{index + 1}" for index in range(config["num_spk"])])
    stereo = bool(config.get("stereo", False))
    return parse(
        {
            "audio": {"sample_rate": sample_rate, "channels": 1 + stereo, "stems": stems},
            "stft": {"n_fft": n_fft, "hop_length": hop},
            "model": model,
        },
        "official configuration",
    )


def _collect_blocks(source: _Source, config: RunConfig) -> dict[str, Tensor]:
    """The TF blocks, which both Locoformers share.

    The official lists are built back to front: feed-forward 1 is the one before attention.
    """
    ours: dict[str, Tensor] = {}
    for layer in range(config.model.n_layers):
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
            if config.model.pos_enc == "rope":
                # One rotary table per axis; the official file repeats it in each layer.
                ours[f"rope_{mine.removesuffix('_path')}.freqs"] = source(f"{old}.attn.rope.freqs")
    return ours


def _collect_bins(source: _Source, config: RunConfig) -> dict[str, Tensor]:
    ours = _collect_blocks(source, config)
    for kind in ("weight", "bias"):
        ours[f"encoder.conv.{kind}"] = source(f"conv.0.{kind}")
        ours[f"encoder.norm.{kind}"] = source(f"conv.1.{kind}")
        ours[f"decoder.deconv.{kind}"] = source(f"deconv.{kind}")
    return ours


def _collect_bands(source: _Source, config: RunConfig) -> dict[str, Tensor]:
    ours = _collect_blocks(source, config)
    widths = band_widths(config.model.freqs_per_bands, config.audio.sample_rate, config.stft.n_fft)
    split = "band_split_module.band_split_module"
    mask = "band_split_module.bandwise_decoding_module"
    first_band = 0
    for run, (count, _) in enumerate(equal_runs(widths)):
        bands = range(first_band, first_band + count)
        first_band += count
        ours[f"encoder.gain.{run}"] = _vectors(source, f"{split}.{{}}.0.weight", bands)
        ours[f"encoder.shift.{run}"] = _vectors(source, f"{split}.{{}}.0.bias", bands)
        ours[f"encoder.linear.{run}.weight"] = _matrices(source, f"{split}.{{}}.1.weight", bands)
        ours[f"encoder.linear.{run}.bias"] = _vectors(source, f"{split}.{{}}.1.bias", bands)
        ours[f"decoder.last.{run}.weight"] = _matrices(source, f"{mask}.{{}}.{_LAST}.weight", bands)
        ours[f"decoder.last.{run}.bias"] = _vectors(source, f"{mask}.{{}}.{_LAST}.bias", bands)
    everything = range(len(widths))
    ours["decoder.gain"] = _vectors(source, f"{mask}.{{}}.0.weight", everything)
    ours["decoder.shift"] = _vectors(source, f"{mask}.{{}}.0.bias", everything)
    for name, place in (("first", _FIRST), ("second", _SECOND)):
        ours[f"decoder.{name}.weight"] = _matrices(
            source, f"{mask}.{{}}.{place}.weight", everything
        )
        ours[f"decoder.{name}.bias"] = _vectors(source, f"{mask}.{{}}.{place}.bias", everything)
    return ours


# Places of the convolutions in the official sequential band decoder (norm is 0, tanh between).
_FIRST, _SECOND, _LAST = 1, 3, 4


def _vectors(source: _Source, pattern: str, bands: range) -> Tensor:
    """Stack per-band vectors ``(n,)`` into ``(K, 1, n)``."""
    return torch.stack([source(pattern.format(band)) for band in bands])[:, None]


def _matrices(source: _Source, pattern: str, bands: range) -> Tensor:
    """Stack per-band 1 x 1 convolutions ``(out, in, 1)`` into ``(K, in, out)``."""
    return torch.stack([source(pattern.format(band))[..., 0].T for band in bands]).contiguous()


LAYOUTS: dict[
    str,
    tuple[
        Callable[[Mapping[str, Any]], RunConfig],
        Callable[[_Source, RunConfig], dict[str, Tensor]],
    ],
] = {
    "tf_locoformer": (lambda config: _locoformer_config(config, bands=False), _collect_bins),
    "bs_locoformer": (lambda config: _locoformer_config(config, bands=True), _collect_bands),
}
