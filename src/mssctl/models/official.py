"""Weights of the official implementations, under their key layouts, loaded into our modules.

Each layout is a table of how one of our tensors is made from official ones, so a missing or
surplus key can be named. The key layouts are facts read from published checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mssctl.config.parse import parse
from mssctl.config.schema import BSMamba2Config, RunConfig, TFLocoformerConfig
from mssctl.errors import ExitCode, MssctlError, shown
from mssctl.models.bands import band_widths, equal_runs
from mssctl.models.base import Separator
from mssctl.models.registry import build, outline

State = Mapping[str, Tensor]


def marks(layout: str = "auto") -> dict[str, str]:
    """Layout -> start of keys that only it has; of all layouts, or one.

    Raises:
        MssctlError: no such layout (exit 2).
    """
    if layout == "auto":
        return {name: known.mark for name, known in LAYOUTS.items()}
    return {layout: _known(layout).mark}


def _known(layout: str) -> Layout:
    if layout not in LAYOUTS:
        raise MssctlError(
            f"unknown layout '{layout}'",
            hint=f"known: {', '.join(LAYOUTS)}",
            exit_code=ExitCode.USAGE,
        )
    return LAYOUTS[layout]


def load(state: State, layout: str, config: Mapping[str, Any]) -> Separator:
    """Build the separator an official state dict belongs to, in eval mode.

    Args:
        state: the official tensors by their official names.
        layout: ``tf_locoformer`` (per bin, mapping), ``bs_locoformer`` (band-split) or
            ``bsmamba2``.
        config: the official configuration, under its own names, flat or with a section ``model``.

    Raises:
        MssctlError: unknown layout, a missing or surplus key, or a shape that does not fit.
    """
    return load_with_config(state, layout, config)[0]


def load_with_config(
    state: State, layout: str, config: Mapping[str, Any]
) -> tuple[Separator, RunConfig]:
    """`load`, and the configuration in our terms that it was built from."""
    known, source = _known(layout), _Source(state, layout)
    try:
        run = known.translate(config, source)
        ours = known.collect(source, run)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        # What a tensor of other dimensions, or a text in place of a number, leads to.
        raise MssctlError(
            f"{layout}: the configuration or a tensor has another form than official ones",
            hint="does the configuration belong to this file?",
        ) from None
    source.assert_all_used()
    expected = outline(run).state_dict()  # compared before any memory is taken
    for name in expected.keys() | ours.keys():
        wanted, given = expected.get(name), ours.get(name)
        if wanted is None or given is None or wanted.shape != given.shape:
            raise MssctlError(
                f"{layout}: {name} should be {_shape(wanted)}, the file gives {_shape(given)}",
                hint="does the configuration belong to this file?",
            )
    separator = build(run)
    separator.load_state_dict(ours)
    return separator.eval(), run


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else str(tuple(tensor.shape))


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

    def count(self, start: str) -> int:
        """How many numbered parts there are under ``start``."""
        numbers = [
            key.removeprefix(f"{start}.").split(".")[0]
            for key in self.state
            if key.startswith(f"{start}.")
        ]
        return 1 + max((int(number) for number in numbers), default=-1)

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
    speakers = range(_stem_count(config.get("num_spk", 2)))
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


def _collect_blocks(source: _Source, config: RunConfig) -> dict[str, Tensor]:
    """The TF blocks, which both Locoformers share.

    The official lists are built back to front: feed-forward 1 is the one before attention.
    """
    assert isinstance(config.model, TFLocoformerConfig)
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


def _bsmamba2_config(config: Mapping[str, Any], source: _Source) -> RunConfig:
    """Our configuration from the official names; sizes that are not given, from the tensors."""
    training, audio = config.get("training", {}), config.get("audio", {})
    config = {**config, **config.get("model", {})}
    mixer = "layers.0.0.forward_blocks.0.mixer"
    conv = source(f"{mixer}.conv1d.weight")
    dim = config.get("dim", source("final_norm.gamma").shape[0])
    inner, heads = source(f"{mixer}.norm.weight").shape[0], source(f"{mixer}.A_log").shape[0]
    hidden = source("mask_estimators.0.to_freqs.0.0.0.weight").shape[0]
    channels = 2 if config.get("stereo", True) else 1
    bands = range(source.count("band_split.to_features"))
    sizes = [source(f"band_split.to_features.{band}.0.gamma").shape[0] for band in bands]
    widths = [size // (2 * channels) for size in sizes]
    stems = _stem_count(config.get("num_stems", source.count("mask_estimators")))
    names = training.get("instruments") or config.get("stems")
    model = {
        "name": "bsmamba2",
        "freqs_per_bands": widths,
        "n_layers": config.get("depth", source.count("layers")),
        "emb_dim": dim,
        "expand": config.get("expand", inner // dim),
        "d_state": config.get("d_state", (conv.shape[0] - inner) // 2),
        "d_conv": conv.shape[-1],
        "headdim": config.get("headdim", inner // heads),
        "mask_expansion": hidden // dim,
    }
    n_fft = config.get("stft_n_fft", 2 * (sum(widths) - 1))
    return parse(
        {
            "audio": {
                "sample_rate": audio.get("sample_rate", 44_100),
                "channels": channels,
                **_stems(stems, names, training.get("target_instrument")),
            },
            "stft": {"n_fft": n_fft, "hop_length": config.get("stft_hop_length", 441)},
            "model": model,
            "training": {"segment_length": audio.get("chunk_size", 352_800)},
        },
        "official configuration",
    )


def _stem_count(count: Any) -> int:
    if type(count) is not int or not 1 <= count <= 64:
        raise MssctlError(f"the configuration has {shown(count)} stems, expected 1 to 64")
    return count


def _stems(count: int, names: list[str] | None, target: str | None) -> dict[str, Any]:
    """Names of the sources, and the one a model with a single output gives.

    Such a model is one for vocals, where nothing else is said.
    """
    if count > 1:
        return {"stems": names or [f"stem{index + 1}" for index in range(count)]}
    names = names or ["vocals"]
    target = target or names[0]
    rest = "rest" if target == "other" else "other"
    return {"stems": names if len(names) > 1 else [target, rest], "target_instrument": target}


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


def _collect_bsmamba2(source: _Source, config: RunConfig) -> dict[str, Tensor]:
    model = config.model
    assert isinstance(model, BSMamba2Config)
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
    first_band = 0
    for run, (count, _) in enumerate(equal_runs(widths)):
        bands = range(first_band, first_band + count)
        first_band += count
        split = "band_split.to_features.{}"
        ours[f"encoder.norm.{run}.gain"] = _vectors(source, f"{split}.0.gamma", bands)
        ours |= _linears(source, f"encoder.linear.{run}", f"{split}.1", bands)
        for stem in range(len(config.audio.outputs)):
            mask = f"mask_estimators.{stem}.to_freqs.{{}}.0.2"
            ours |= _linears(source, f"masks.{stem}.last.{run}", mask, bands)
    for stem in range(len(config.audio.outputs)):
        mask = f"mask_estimators.{stem}.to_freqs.{{}}.0.0"
        ours |= _linears(source, f"masks.{stem}.first", mask, range(len(widths)))
    return ours


def _linears(source: _Source, ours: str, pattern: str, bands: range) -> dict[str, Tensor]:
    """Stack per-band linear maps, which the official files keep as ``(out, in)``."""
    weights = [source(f"{pattern.format(band)}.weight").T for band in bands]
    return {
        f"{ours}.weight": torch.stack(weights).contiguous(),
        f"{ours}.bias": _vectors(source, f"{pattern}.bias", bands),
    }


@dataclass(frozen=True)
class Layout:
    """How the keys of one implementation become ours.

    Attributes:
        mark: start of keys that only this layout has.
        translate: from the official configuration and tensors to our configuration.
        collect: from the official tensors to ours.
    """

    mark: str
    translate: Callable[[Mapping[str, Any], _Source], RunConfig]
    collect: Callable[[_Source, RunConfig], dict[str, Tensor]]


LAYOUTS = {
    "bsmamba2": Layout("layers.0.0.forward_blocks.", _bsmamba2_config, _collect_bsmamba2),
    "bs_locoformer": Layout(
        "band_split_module.",
        lambda config, _: _locoformer_config(config, bands=True),
        _collect_bands,
    ),
    "tf_locoformer": Layout(
        "deconv.", lambda config, _: _locoformer_config(config, bands=False), _collect_bins
    ),
}
