"""The files of older TF-Locoformer training scripts as presets.

Their model is the one per bin: mono spectrograms, and the stems themselves in place of masks.
"""

from collections.abc import Mapping
from typing import Any

from mssctl.models.foreign import (
    DATA_OPTION,
    DEVICE,
    EPOCHS,
    MEMORY,
    OUT_OPTION,
    VALIDATION,
    Flat,
    ForeignPreset,
    NotCarriedError,
    Rule,
    always,
    one_of,
    to,
)

_NO_AUGMENTATION = {
    f"data.{effect}": 0.0
    for effect in ("remix", "gain", "stem_dropout", "swap_channels", "flip_polarity")
}


def _augmentation(value: Any, _: Flat) -> Mapping[str, Any]:
    if value is not False:
        raise NotCarriedError("the effects here are others: see the section data")
    return _NO_AUGMENTATION


def _sources(value: Any, flat: Flat) -> Mapping[str, Any]:
    if value != len(flat["dataset.sources"]):
        raise NotCarriedError("dataset.sources names another number of stems")
    return {}


def _loss(value: Any, _: Flat) -> Mapping[str, Any]:
    if value == "si_sdr":
        return {"loss.name": "combined", "loss.si_sdr": 1.0, "loss.l1": 0.0, "loss.spectral": 0.0}
    if value != "combined":
        raise NotCarriedError("no such loss here")
    return {"loss.name": "combined"}


def _weight(key: str) -> Rule:
    def carry(value: Any, flat: Flat) -> Mapping[str, Any]:
        if flat.get("loss.loss_type") == "si_sdr":
            raise NotCarriedError("the loss si_sdr has one term only")
        return {key: float(value)}

    return carry


def _amp_dtype(value: Any, flat: Flat) -> Mapping[str, Any]:
    if flat.get("training.use_amp") is False:
        raise NotCarriedError("use_amp is off")
    if value not in ("bfloat16", "bf16"):
        raise NotCarriedError("training is in bfloat16 or float32; float16 would overflow")
    return {"training.amp_dtype": "bfloat16"}


def _use_amp(value: Any, _: Flat) -> Mapping[str, Any]:
    return {"training.amp_dtype": "bfloat16" if value else "float32"}


def _early_stopping(value: Any, flat: Flat) -> Mapping[str, Any]:
    if not flat.get("training.early_stopping.enabled", True):
        raise NotCarriedError("early stopping is off")
    return {"training.early_stopping": value}


def _tf32(value: Any, flat: Flat) -> Mapping[str, Any]:
    if value != flat.get("performance.tf32", value):
        raise NotCarriedError("training.tf32 sets it for products and convolutions alike")
    return {"training.tf32": value}


_MODEL: dict[str, Rule] = {
    "model.n_fft": to("stft.n_fft"),
    "model.hop_length": to("stft.hop_length"),
    "model.n_sources": _sources,
    "model.norm_type": always("rmsgroupnorm", "the only norm here is rmsgroupnorm"),
    "model.flash_attention": to("training.flash_attention"),
    "model.ffn_type": always(
        ["swiglu_conv1d", "swiglu_conv1d"], "both feed-forwards here are swiglu_conv1d"
    ),
    "model.conv1d_shift": always(1, "the convolution moves by one step"),
    "model.eps": to("model.eps", convert=float),
    "model.dropout": to("model.dropout", convert=float),
    **{
        f"model.{key}": to(f"model.{key}")
        for key in (
            "n_layers", "emb_dim", "num_groups", "tf_order", "n_heads", "attention_dim",
            "pos_enc", "ffn_hidden_dim", "conv1d_kernel",
        )
    },
}  # fmt: skip
_DATA: dict[str, Rule] = {
    "dataset.name": "the layout of the folders is recognized, see `mssctl train --layout`",
    "dataset.root_dir": DATA_OPTION,
    "dataset.sample_rate": to("audio.sample_rate"),
    "dataset.segment_length": to("training.segment_length"),
    "dataset.sources": to("audio.stems"),
    "dataset.augmentation": _augmentation,
    "dataset.random_chunks": always(True, "excerpts are always drawn at random"),
}
_LOSS: dict[str, Rule] = {
    "loss.loss_type": _loss,
    "loss.si_sdr_weight": _weight("loss.si_sdr"),
    "loss.l1_weight": _weight("loss.l1"),
    "loss.spectral_weight": _weight("loss.spectral"),
    "loss.eps": "the SI-SDR here has its own bound",
}
_TRAINING: dict[str, Rule] = {
    **{
        f"training.{key}": to(f"training.{key}")
        for key in (
            "batch_size", "num_epochs", "num_workers", "prefetch_factor",
            "gradient_accumulation_steps", "keep_last",
        )
    },
    "training.gradient_clip": to("training.gradient_clip", convert=float),
    "training.pin_memory": always(True, "batches are always pinned for a GPU"),
    "training.persistent_workers": always(True, "workers always live as long as the run"),
    "training.use_amp": _use_amp,
    "training.amp_dtype": _amp_dtype,
    "training.gradient_checkpointing": one_of(
        "training.gradient_checkpointing", {True: "block", False: "none"}
    ),
    "training.warmup_steps": to("scheduler.warmup_steps"),
    "training.warmup_start_lr": "the warm-up starts from lr / warmup_steps",
    "training.save_interval": always(1, EPOCHS),
    "training.save_best": always(True, "the best weights are always kept"),
    "training.save_optimizer": always(True, "a checkpoint always has the optimizer"),
    "training.val_interval": always(1, EPOCHS),
    "training.optimizer.type": one_of("optimizer.name", {"adamw": "adamw"}),
    "training.optimizer.lr": to("optimizer.lr", convert=float),
    "training.optimizer.weight_decay": to("optimizer.weight_decay", convert=float),
    "training.optimizer.eps": to("optimizer.eps", convert=float),
    "training.optimizer.betas": to("optimizer.betas"),
    "training.optimizer.fused": to("optimizer.fused"),
    "training.scheduler.type": one_of("scheduler.name", {"reducelronplateau": "plateau"}),
    "training.scheduler.mode": "plateau follows training.validate_metric, not the loss",
    "training.scheduler.factor": to("scheduler.factor", convert=float),
    "training.scheduler.patience": to("scheduler.patience"),
    "training.scheduler.min_lr": to("scheduler.min_lr", convert=float),
    "training.scheduler.cooldown": always(0, "plateau has no cool-down here"),
    "training.early_stopping.enabled": lambda value, _: (
        {} if value else {"training.early_stopping": 0}
    ),
    "training.early_stopping.patience": _early_stopping,
    "training.early_stopping.min_delta": always(0, "any better score counts"),
}  # fmt: skip
_REST: dict[str, Rule] = {
    "evaluation.batch_size": VALIDATION,
    "evaluation.save_outputs": "`mssctl separate` writes stems",
    "evaluation.metrics": "training.validate_metric selects weights; `mssctl eval` has them all",
    **dict.fromkeys(("paths.output_dir", "paths.checkpoint_dir", "paths.log_dir"), OUT_OPTION),
    "seed": to("training.seed"),
    **dict.fromkeys(("device", "num_gpu"), DEVICE),
    "gpu_id": "give it with `--device cuda:N`",
    "performance.cudnn_benchmark": to("training.cudnn_benchmark"),
    "performance.cudnn_deterministic": always(False, "runs repeat exactly on a CPU only"),
    "performance.tf32": to("training.tf32"),
    "performance.compile_model": to("training.compile"),
    "performance.channels_last": always(False, "nothing here is faster with it"),
    "performance.cuda.allow_tf32_matmul": _tf32,
    "performance.cuda.allow_tf32_conv": _tf32,
    "performance.cuda.max_split_size_mb": MEMORY,
    "memory.clear_cache_every": MEMORY,
    "memory.clear_before_validation": MEMORY,
    "memory.non_blocking_transfer": always(True, "batches are always copied without waiting"),
    "memory.set_to_none": always(True, "gradients are always released"),
}

SCRIPTS = ForeignPreset(
    marks=("dataset.sources", "model.n_heads", "model.emb_dim"),
    base={
        "audio.channels": 1,
        "model.name": "tf_locoformer",
        "model.front_end": "bins",
        "model.masking": "mapping",
    },
    rules=_MODEL | _DATA | _LOSS | _TRAINING | _REST,
    bands={"model.front_end": "bands", "model.masking": "complex"},
)
