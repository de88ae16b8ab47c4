"""Weights of SCNet in the layout of its authors and of public training scripts (MSST)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mssctl.models import msst
from mssctl.models.layouts import Layout, Source
from mssctl.models.run_config import RunConfig, parse
from mssctl.models.scnet.config import SCNetConfig


def _translate(config: Mapping[str, Any], source: Source) -> RunConfig:
    given = msst.given(config)
    levels = source.count("encoder")
    dims = [source(f"encoder.{level}.globalconv.weight").shape[0] for level in range(levels)]
    bands = [source(f"encoder.0.SDlayer.convs.{band}.weight") for band in range(3)]
    outputs = source(f"decoder.{levels - 1}.1.convtrs.0.weight").shape[1] // bands[0].shape[1]
    n_fft = given.get("nfft", 4096)
    msst.refuse(given, win_size=n_fft, normalized=True)
    lstm = source("separation_net.dp_modules.0.lstm_layers.0.weight_hh_l0").shape[1]
    first = "encoder.0.conv_modules.0.layers.0"
    names = given.get("sources")
    if names and not (config.get("training") or {}).get("instruments"):
        config = {**config, "stems": names}
    sections = msst.sections(config, outputs, bands[0].shape[1] // 2)
    published = {"segment_length": 485_100}
    return parse(
        {
            "stft": {
                "n_fft": n_fft,
                "hop_length": given.get("hop_size", 1024),
                "window": "rectangular",
            },
            "model": {
                "name": "scnet",
                "dims": dims,
                "band_shares": given.get("band_SR", [0.175, 0.392, 0.433]),
                "band_strides": given.get("band_stride", [1, 4, 16]),
                "band_kernels": [band.shape[2] for band in bands],
                "conv_depths": [
                    source.count(f"encoder.0.conv_modules.{band}.layers") for band in range(3)
                ],
                "conv_kernel": source(f"{first}.1.weight").shape[2],
                "compress": dims[0] // source(f"{first}.4.weight").shape[0],
                "n_layers": source.count("separation_net.dp_modules"),
                "expand": lstm // dims[-1],
            },
            **sections,
            "training": {**published, **sections["training"]},
        },
        "official configuration",
    )


def _collect(source: Source, config: RunConfig) -> dict[str, Tensor]:
    model = SCNetConfig.of(config)
    ours: dict[str, Tensor] = {}

    def take(new: str, old: str, *kinds: str) -> None:
        for kind in kinds or ("weight", "bias"):
            ours[f"{new}.{kind}"] = source(f"{old}.{kind}")

    for level in range(len(model.dims)):
        take(f"encoder.{level}.join", f"encoder.{level}.globalconv")
        take(f"decoder.{level}.fuse", f"decoder.{level}.0.conv")
        for band, depth in enumerate(model.conv_depths):
            take(f"encoder.{level}.down.{band}", f"encoder.{level}.SDlayer.convs.{band}")
            take(f"decoder.{level}.up.{band}", f"decoder.{level}.1.convtrs.{band}")
            for layer in range(depth):
                for part in (0, 1, 3, 4, 6):
                    take(
                        f"encoder.{level}.refine.{band}.layers.{layer}.{part}",
                        f"encoder.{level}.conv_modules.{band}.layers.{layer}.{part}",
                    )
    lstm = [
        f"{kind}_{side}_l0{way}"
        for kind in ("weight", "bias")
        for side in ("ih", "hh")
        for way in ("", "_reverse")
    ]
    for index in range(model.n_layers):
        old = f"separation_net.dp_modules.{index}"
        for path in range(2):
            take(f"paths.{index}.norms.{path}", f"{old}.norm_layers.{path}")
            take(f"paths.{index}.maps.{path}", f"{old}.linear_layers.{path}")
            take(f"paths.{index}.lstms.{path}", f"{old}.lstm_layers.{path}", *lstm)
    return ours


LAYOUTS = {"scnet": Layout("encoder.0.SDlayer.", _translate, _collect)}
