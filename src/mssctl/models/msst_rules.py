"""Rules for the sections that the YAML files of public training scripts (MSST) share."""

from collections.abc import Mapping
from typing import Any

from mssctl.models.foreign import Flat, NotCarriedError, Rule, always, one_of, to

_TRANSFORM = "the model's own keys set the transform"
_EFFECTS = "the effects here are others: see the section data"


def _instruments(value: Any, _: Flat) -> Mapping[str, Any]:
    """A lone stem needs the rest of the mixture beside it."""
    if len(value) > 1:
        return {"audio.stems": value}
    rest = "rest" if value[0] == "other" else "other"
    return {"audio.stems": [value[0], rest], "audio.target_instrument": value[0]}


def _overlap(value: Any, _: Flat) -> Mapping[str, Any]:
    return {"separation.overlap": 1 - 1 / value}


def _segment(value: Any, flat: Flat) -> Mapping[str, Any]:
    return {"separation.segment_seconds": value / flat.get("audio.sample_rate", 44_100)}


def _clip(value: Any, _: Flat) -> Mapping[str, Any]:
    if not value:
        raise NotCarriedError("gradients are always clipped, see training.gradient_clip")
    return {"training.gradient_clip": float(value)}


def _amp(value: Any, _: Flat) -> Mapping[str, Any]:
    return {"training.amp_dtype": "bfloat16" if value else "float32"}


SHARED: dict[str, Rule] = {
    "audio.chunk_size": to("training.segment_length"),
    "audio.num_channels": to("audio.channels"),
    "audio.sample_rate": to("audio.sample_rate"),
    "audio.min_mean_abs": "data.active_db is the level below which excerpts are drawn again",
    **dict.fromkeys(("audio.dim_f", "audio.dim_t", "audio.hop_length", "audio.n_fft"), _TRANSFORM),
    "training.instruments": _instruments,
    "training.target_instrument": to("audio.target_instrument"),
    "training.batch_size": to("training.batch_size"),
    "training.gradient_accumulation_steps": to("training.gradient_accumulation_steps"),
    "training.grad_clip": _clip,
    "training.lr": to("optimizer.lr", convert=float),
    "training.patience": to("scheduler.patience"),
    "training.reduce_factor": to("scheduler.factor", convert=float),
    "training.num_epochs": to("training.num_epochs"),
    "training.num_steps": to("training.steps_per_epoch"),
    "training.ema_momentum": to("training.ema_momentum", convert=float),
    "training.optimizer": one_of("optimizer.name", {"adamw": "adamw"}),
    "training.use_amp": _amp,
    "training.q": "no loss here leaves out the worst examples",
    "training.coarse_loss_clip": "no loss here leaves out the worst examples",
    "training.other_fix": "the rest of the mixture is always what the stems lack",
    "training.normalize": always(False, "see separation.normalize"),
    "inference.batch_size": to("separation.batch_size"),
    "inference.num_overlap": _overlap,
    "inference.chunk_size": _segment,
    "inference.dim_t": _TRANSFORM,
    "inference.normalize": to("separation.normalize"),
    "augmentations.*": _EFFECTS,
    "augmentation.*": _EFFECTS,
}
