"""The file of an older BSMamba2 training script as a preset."""

from collections.abc import Mapping
from typing import Any

from mssctl.models.foreign import (
    DATA_OPTION,
    EPOCHS,
    OUT_OPTION,
    Flat,
    ForeignPreset,
    always,
    one_of,
    to,
)


def _samples(value: Any, flat: Flat) -> Mapping[str, Any]:
    return {"training.segment_length": round(value * flat["audio.sample_rate"])}


SCRIPT = ForeignPreset(
    marks=("model.hidden_dim", "model.num_subbands", "model.d_state"),
    base={"model.name": "bsmamba2", "loss.name": "bsmamba2"},
    rules={
        "model.hidden_dim": to("model.emb_dim"),
        "model.num_layers": to("model.n_layers"),
        "model.num_subbands": one_of("model.freqs_per_bands", {62: "bands62"}),
        "model.d_state": to("model.d_state"),
        "model.d_conv": to("model.d_conv"),
        "model.use_gradient_checkpointing": one_of(
            "training.gradient_checkpointing", {True: "path", False: "none"}
        ),
        "audio.sample_rate": to("audio.sample_rate"),
        "audio.n_fft": to("stft.n_fft"),
        "audio.hop_length": to("stft.hop_length"),
        "audio.segment_length": _samples,
        "training.batch_size": to("training.batch_size"),
        "training.gradient_accumulation_steps": to("training.gradient_accumulation_steps"),
        "training.learning_rate": to("optimizer.lr", convert=float),
        "training.num_epochs": to("training.num_epochs"),
        "training.precision": one_of("training.amp_dtype", {"fp32": "float32", "bf16": "bfloat16"}),
        "training.lambda_time": to("loss.l1_time_weight", convert=float),
        "training.dropout": always(0, "the model has no dropout"),
        "training.output_dir": OUT_OPTION,
        "training.resume_from": "`mssctl resume RUN` continues a run",
        "training.save_every_n_epochs": always(1, EPOCHS),
        "training.keep_last_n_checkpoints": to("training.keep_last"),
        "loss.stft_windows": to("loss.multi_stft_window_sizes"),
        "loss.stft_hop": to("loss.multi_stft_hop_size"),
        "data.root": DATA_OPTION,
    },
)
