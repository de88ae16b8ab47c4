"""Weights of HTDemucs as its authors and public training scripts save them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from torch import Tensor

from mssctl.errors import MssctlError, shown
from mssctl.models import msst
from mssctl.models.htdemucs.config import HTDemucsConfig
from mssctl.models.htdemucs.foreign import FIXED
from mssctl.models.layouts import Layout, Source, stem_count
from mssctl.models.run_config import RunConfig, parse

_MARK = "crosstransformer.layers.0.self_attn.in_proj_weight"
_CLASS = "HTDemucs"
_STEMS = ["drums", "bass", "other", "vocals"]


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's arguments: of a package, a section ``htdemucs``, or flat.

    Raises:
        MssctlError: a package of another class, or arguments without names.
    """
    if "klass" in config:
        if str(config["klass"]).rpartition(".")[2] != _CLASS or config.get("args"):
            raise MssctlError(f"the network is {shown(config['klass'])}, expected {_CLASS}")
        return dict(config.get("kwargs") or {})
    section = config.get(_CLASS.lower())
    if isinstance(section, Mapping):
        training = config.get("training") or {}
        outer = {
            "samplerate": training.get("samplerate"),
            "segment": training.get("segment"),
            "sources": training.get("instruments"),
        }
        target = training.get("target_instrument")
        outer["sources"] = [target] if target else outer["sources"]
        return {**{key: value for key, value in outer.items() if value is not None}, **section}
    return msst.given(config)


def _translate(config: Mapping[str, Any], source: Source) -> RunConfig:
    given, nets = _arguments(config), _nets(source)
    first = nets[0]
    # An empty list is as good as none.
    msst.refuse({k: None if v == [] else v for k, v in given.items()}, **FIXED)
    depth = source.count(f"{first}encoder")
    msst.refuse(given, norm_starts=max(depth, given.get("norm_starts", 4)))
    channels = source(f"{first}tencoder.0.conv.weight").shape[1]
    widths = [source(f"{first}encoder.{level}.conv.bias").shape[0] for level in range(depth)]
    outputs = source(f"{first}tdecoder.{depth - 1}.conv_tr.bias").shape[0] // channels
    dim = source(f"{first}crosstransformer.norm_in.weight").shape[0]
    hidden = source(f"{first}encoder.{depth - 1}.dconv.layers.0.0.bias").shape[0]
    layers = source.count(f"{first}crosstransformer.layers")
    feed = source(f"{first}crosstransformer.layers.0.linear1.bias").shape[0]
    n_fft = given.get("nfft", 4096)
    has_maps = f"{first}channel_upsampler.weight" in source.state
    model = {
        "name": "htdemucs",
        "depth": depth,
        "base_channels": widths[0],
        "growth": widths[1] // widths[0] if depth > 1 else 2,
        "dconv_depth": source.count(f"{first}encoder.0.dconv.layers"),
        "dconv_compress": given.get("dconv_comp", widths[-1] // hidden),
        "n_layers": layers,
        "emb_dim": dim if has_maps else None,
        "n_heads": given.get("t_heads", 8),
        "ffn_expansion": feed // dim,
        "dropout": float(given.get("t_dropout", 0.0)),
        "bag": config.get("bag"),
    }
    sections = _sections(config, given, stem_count(outputs), channels)
    tree = {"stft": {"n_fft": n_fft, "hop_length": n_fft // 4}, "model": model, **sections}
    return parse(tree, "official configuration")


def _sections(
    config: Mapping[str, Any], given: Mapping[str, Any], outputs: int, channels: int
) -> dict[str, Any]:
    """Our sections ``audio``, ``training`` and ``separation``."""
    rate = given.get("samplerate", 44_100)
    segment = round(_seconds(given.get("segment", 10)) * rate)
    names = given.get("sources") or (_STEMS if outputs == len(_STEMS) else None)
    separation = {"overlap": 0.25, "fade": "linear", "edges": "centered", "normalize": True}
    found = msst.sections({**config, "stems": names}, outputs, channels)
    if _CLASS.lower() in config:
        inference = config.get("inference") or {}
        separation["normalize"] = bool(inference.get("normalize", False))
        separation |= found["separation"]
    return {
        "audio": {**found["audio"], "sample_rate": rate},
        "training": {"segment_length": segment},
        "separation": separation,
    }


def _seconds(value: Any) -> Fraction:
    """A number, or a fraction as JSON has it."""
    if isinstance(value, Mapping):
        return Fraction(value["numerator"], value["denominator"])
    return Fraction(value)


def _nets(source: Source) -> list[str]:
    """What stands before the keys of each net: a number where there are several."""
    if _MARK in source.state:
        return [""]
    numbers = itertools.takewhile(lambda i: f"{i}.{_MARK}" in source.state, itertools.count())
    return [f"{index}." for index in numbers]


def _collect(source: Source, config: RunConfig) -> dict[str, Tensor]:
    model, ours = HTDemucsConfig.of(config), {}
    for index, before in enumerate(_nets(source)):
        for name, tensor in _net(source, before, model):
            ours[f"nets.{index}.{name}"] = tensor.float().contiguous()
    return ours


def _net(source: Source, before: str, model: HTDemucsConfig) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of one net."""
    for level in range(model.depth):
        deeper = model.depth - 1 - level  # decoders count from the coarsest level
        for branch, prefix in (("", ""), ("wave_", "t")):
            here = f"{before}{prefix}encoder.{level}"
            yield from _level(source, f"{branch}encoder.{level}", here, model)
            here = f"{before}{prefix}decoder.{deeper}"
            yield from _level(source, f"{branch}decoder.{level}", here, model)
    yield "embedding", source(f"{before}freq_emb.embedding.weight")
    yield from _transformer(source, before, model)


def _level(
    source: Source, ours: str, theirs: str, model: HTDemucsConfig
) -> Iterator[tuple[str, Tensor]]:
    """An encoder's or decoder's level; frequency is their third last axis and our last one."""
    decodes = "decoder" in ours
    kernel = source(f"{theirs}.{'conv_tr' if decodes else 'conv'}.weight").flatten(2)
    # (out, in, tap) -> (out, tap, in); transposed: (in, out, tap) -> (tap, out, in)
    taps = kernel.permute(2, 1, 0).flatten(0, 1) if decodes else kernel.mT.flatten(1)
    yield f"{ours}.conv.weight", taps
    yield f"{ours}.conv.bias", source(f"{theirs}.{'conv_tr' if decodes else 'conv'}.bias")
    rewrite = source(f"{theirs}.rewrite.weight")
    if not decodes:
        rewrite = rewrite.flatten(1)
    elif rewrite.dim() == 4:
        rewrite = rewrite.permute(0, 3, 2, 1)  # (out, in, frequency, time) -> ours
    else:
        rewrite = rewrite.mT[:, None]
    yield f"{ours}.rewrite", rewrite
    yield f"{ours}.rewrite_bias", source(f"{theirs}.rewrite.bias")
    for layer in range(model.dconv_depth):
        new, old = f"{ours}.dconv.{layer}", f"{theirs}.dconv.layers.{layer}"
        yield f"{new}.down", source(f"{old}.0.weight").permute(2, 0, 1).flatten(0, 1)
        yield f"{new}.up", source(f"{old}.3.weight").flatten(1)
        for name, official in _DCONV.items():
            yield f"{new}.{name}", source(f"{old}.{official}")


_DCONV = {
    "down_bias": "0.bias",
    "down_gain": "1.weight",
    "down_shift": "1.bias",
    "up_bias": "3.bias",
    "up_gain": "4.weight",
    "up_shift": "4.bias",
    "scale": "6.scale",
}


def _transformer(
    source: Source, before: str, model: HTDemucsConfig
) -> Iterator[tuple[str, Tensor]]:
    if model.emb_dim is not None:
        for name, official in (("up", "upsampler"), ("down", "downsampler")):
            for branch, suffix in (("", ""), ("wave_", "_t")):
                new, old = f"transformer.maps.{branch}{name}", f"{before}channel_{official}{suffix}"
                yield f"{new}.weight", source(f"{old}.weight").flatten(1)
                yield f"{new}.bias", source(f"{old}.bias")
    base = f"{before}crosstransformer"
    for kind in ("weight", "bias"):
        yield f"transformer.norm.{kind}", source(f"{base}.norm_in.{kind}")
        yield f"transformer.wave_norm.{kind}", source(f"{base}.norm_in_t.{kind}")
    for index in range(model.n_layers):
        for branch, suffix in (("spectrum", ""), ("wave", "_t")):
            new = f"transformer.blocks.{index}.{branch}"
            old = f"{base}.layers{suffix}.{index}"
            yield from _layer(source, new, old, cross=index % 2 == 1)


def _layer(source: Source, ours: str, theirs: str, cross: bool) -> Iterator[tuple[str, Tensor]]:
    attention = f"{theirs}.{'cross_attn' if cross else 'self_attn'}"
    norms = ["norm_attention", *(["norm_context"] if cross else []), "norm_ffn"]
    names = {f"norm{place + 1}": name for place, name in enumerate(norms)}
    names |= {"norm_out": "norm_out", "linear1": "up", "linear2": "down"}
    for kind in ("weight", "bias"):
        stacked = source(f"{attention}.in_proj_{kind}")
        dim = stacked.shape[0] // 3
        yield f"{ours}.q.{kind}", stacked[:dim]
        yield f"{ours}.kv.{kind}", stacked[dim:]
        yield f"{ours}.out.{kind}", source(f"{attention}.out_proj.{kind}")
        for official, name in names.items():
            yield f"{ours}.{name}.{kind}", source(f"{theirs}.{official}.{kind}")
    yield f"{ours}.scale_attention", source(f"{theirs}.gamma_1.scale")
    yield f"{ours}.scale_ffn", source(f"{theirs}.gamma_2.scale")


LAYOUTS = {"htdemucs": Layout(_MARK, _translate, _collect, parts=True)}
