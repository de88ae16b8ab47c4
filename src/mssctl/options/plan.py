"""The options of ``mssctl plan``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mssctl.config import bounds
from mssctl.config.bounds import Checkpointing
from mssctl.options.base import PAIR, Options, option

Mode = Literal["train", "separate"]
Dtype = Literal["bf16", "fp16", "fp32"]
Attention = Literal["auto", "flash", "cudnn", "efficient", "math"]


@dataclass(frozen=True, kw_only=True)
class PlanOptions(Options):
    """What `mssctl.plan` predicts, and for which card."""

    vram: float | None = option(
        None,
        "--vram",
        help="Free memory of the card in GiB; as NVML reports it by default.",
        bounds=(0.5, 1024),
        metavar="GIB",
    )
    gpu: str | None = option(
        None, "--gpu", help="A card by name, such as 'RTX 5090'.", metavar="NAME"
    )
    mode: Mode = option("train", "--mode", help="What to plan for.")
    segment: float | None = option(
        None,
        "--segment",
        help="Seconds of audio per example or segment.",
        bounds=bounds.SEGMENT_SECONDS,
        metavar="SEC",
    )
    n_fft: int | None = option(
        None,
        "--n-fft",
        help="Set stft.n_fft.",
        bounds=bounds.N_FFT,
        metavar="N",
        keys=("stft.n_fft",),
    )
    hop: int | None = option(
        None,
        "--hop",
        help="Set stft.hop_length.",
        bounds=bounds.HOP_LENGTH,
        metavar="N",
        keys=("stft.hop_length",),
    )
    layers: int | None = option(
        None,
        "--layers",
        help="Set model.n_layers.",
        bounds=bounds.LAYERS,
        metavar="N",
        keys=("model.n_layers",),
    )
    emb_dim: int | None = option(
        None,
        "--emb-dim",
        help="Set model.emb_dim and attention_dim; for others use --set.",
        bounds=bounds.WIDTH,
        metavar="N",
        keys=("model.emb_dim", "model.attention_dim"),
    )
    heads: int | None = option(
        None,
        "--heads",
        help="Set model.n_heads.",
        bounds=bounds.HEADS,
        metavar="N",
        keys=("model.n_heads",),
    )
    batch: int | None = option(
        None, "--batch", help="Examples or segments at a time.", bounds=bounds.BATCH, metavar="N"
    )
    dtype: Dtype | None = option(
        None,
        "--dtype",
        help="Set training.amp_dtype; with --mode separate, the dtype of separation.",
    )
    attention: Attention = option(
        "auto", "--attention", help="Pin the attention kernel; auto is what train would use."
    )
    front_end: Literal["bands", "bins"] | None = option(
        None, "--front-end", help="Set model.front_end.", keys=("model.front_end",)
    )
    checkpointing: Checkpointing | None = option(
        None,
        "--checkpointing",
        help="Set training.gradient_checkpointing.",
        keys=("training.gradient_checkpointing",),
    )
    overrides: Sequence[str] = option(
        (),
        "--set",
        help="Override one preset key; may be repeated.",
        metavar=PAIR,
        repeatable=True,
    )
    write: Path | str | None = option(
        None, "--write", help="Write a preset that fits.", metavar="FILE"
    )
