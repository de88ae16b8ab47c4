"""The published weights of Spleeter, one state dict per stem, as PyTorch ports store them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mssctl.models import msst
from mssctl.models.layouts import Layout, Source, stem_count
from mssctl.models.run_config import RunConfig, parse

# Names of the stems of the published models, in order, by their number.
_STEMS = {
    2: ["vocals", "accompaniment"],
    4: ["vocals", "drums", "bass", "other"],
    5: ["vocals", "piano", "drums", "bass", "other"],
}
_NORM = ("weight", "bias", "running_mean", "running_var")


def _translate(config: Mapping[str, Any], source: Source) -> RunConfig:
    stems = stem_count(source.count(""))
    first = source("0.down1_conv.1.weight")
    names = config.get("stems") or _STEMS.get(stems) or msst.stems({}, stems)["stems"]
    frames, hop = 512, 1024
    return parse(
        {
            "audio": {"sample_rate": 44_100, "channels": first.shape[1], "stems": names},
            "stft": {"n_fft": 4096, "hop_length": hop},
            "model": {"name": "spleeter", "frames": frames, "width": first.shape[0]},
            "training": {"segment_length": (frames - 1) * hop},
            # In one pass, as published, up to a minute.
            "separation": {
                "segment_seconds": (4 * frames - 1) * hop / 44_100,
                "batch_size": 1,  # segments are long
                "overlap": 0.0,
                "edges": "zeros",
                **({"residual": names[-1]} if stems == 2 else {}),
            },
        },
        "official configuration",
    )


def _collect(source: Source, config: RunConfig) -> dict[str, Tensor]:
    ours = {}
    for stem in range(len(config.audio.stems)):
        for kind in _NORM:  # stored, but not part of the network
            source(f"{stem}.down6_act.0.{kind}")
        names = {"mask": "up7.0"}
        norms = {}
        for level in range(6):
            names[f"down.{level}"] = f"down{level + 1}_conv.1"
            names[f"up.{level}"] = f"up{level + 1}.0"
            norms[f"up_norm.{level}"] = f"up{level + 1}.3"
            if level < 5:
                norms[f"down_norm.{level}"] = f"down{level + 1}_act.0"
        for new, old in names.items():
            for kind in ("weight", "bias"):
                ours[f"nets.{stem}.{new}.{kind}"] = source(f"{stem}.{old}.{kind}")
        for new, old in norms.items():
            for kind in _NORM:
                ours[f"nets.{stem}.{new}.{kind}"] = source(f"{stem}.{old}.{kind}")
    return ours


LAYOUTS = {"spleeter": Layout("down1_conv.1.", _translate, _collect, parts=True)}
