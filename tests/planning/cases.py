"""Configurations whose predicted memory is pinned in ``tests/golden/plan.json``.

Run as ``python tests/planning/cases.py`` to print the file anew, after a change that is meant to
change memory.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from unittest import mock

from mssctl import presets
from mssctl.models.tf_locoformer import blocks
from mssctl.planning.predict.fake_step import Peak
from mssctl.planning.predictions import separation_peak, training_peak

_HERE = Path(__file__).parent
SHORT = ("ultra_safe", "model.n_layers=2", "training.segment_length=44100")
ONCE = (*SHORT, "training.gradient_accumulation_steps=1")
BINS = (*ONCE, "model.front_end=bins", "model.n_layers=1")
MAMBA = (
    "bsmamba2", "model.n_layers=1", "training.segment_length=88200", "training.batch_size=1",
    "training.gradient_accumulation_steps=1",
)  # fmt: skip
PUBLIC = (
    "model.front_end=bins", "model.masking=mapping", "audio.channels=1", "model.dropout=0.1",
    "training.ema_momentum=0", "training.batch_size=1", "training.gradient_accumulation_steps=1",
    "training.gradient_checkpointing=none",
)  # fmt: skip

# name -> preset and overrides, attention kernel
TRAINING: dict[str, tuple[tuple[str, ...], str | None]] = {
    "bands": (ONCE, None),
    "bands, accumulated": (SHORT, None),
    "bands, batch 3": ((*ONCE, "training.batch_size=3"), None),
    "bands, block": ((*ONCE, "training.gradient_checkpointing=block"), None),
    "bands, path": ((*ONCE, "training.gradient_checkpointing=path"), None),
    "bands, path, batch 8": (
        (*ONCE, "training.gradient_checkpointing=path", "training.batch_size=8"),
        None,
    ),
    "bands, float32": ((*ONCE, "training.amp_dtype=float32"), None),
    "bands, no average, no dropout": (
        (*ONCE, "training.ema_momentum=0", "model.dropout=0"),
        None,
    ),
    "bands, cudnn": (ONCE, "cudnn"),
    "bands, math": (ONCE, "math"),
    "bins": (BINS, None),
    "bins, path": ((*BINS, "training.gradient_checkpointing=path"), None),
    "bins, math": (BINS, "math"),
    "bins, math, float32": ((*BINS, "training.amp_dtype=float32"), "math"),
    "bins, efficient, float32": ((*BINS, "training.amp_dtype=float32"), None),
    "bsmamba2": (MAMBA, None),
}

# Sizes of a public per-bin implementation (in the form of `plain_path.py`), and what it was
# measured to allocate on an H200 (GiB).
RECORDED: dict[str, tuple[tuple[str, ...], float]] = {
    "L4 D96 H4, 3 s": (("ultra_safe", *PUBLIC), 23.85),
    "L6 D96 H6, 5 s": (("small", *PUBLIC), 58.59),
    "L6 D128 H8, 5 s": (("memory_optimized", *PUBLIC), 78.46),
}


def trained(spec: tuple[str, ...], attention: str | None = None) -> Peak:
    """Prediction of a training step."""
    return training_peak(presets.load(spec[0], spec[1:]), attention=attention)


def recorded(spec: tuple[str, ...]) -> Peak:
    """Prediction of a network of `RECORDED`, in the form in which it was measured."""
    spec_of = importlib.util.spec_from_file_location("plain_path", _HERE / "plain_path.py")
    plain = importlib.util.module_from_spec(spec_of)
    spec_of.loader.exec_module(plain)
    with mock.patch.multiple(
        blocks,
        RMSGroupNorm=plain.PlainNorm,
        ConvSwiGLU=plain.PlainFeedForward,
        SelfAttention=plain.PlainAttention,
    ):
        return trained(spec)


def separated() -> Peak:
    """Prediction of separating with the preset of `SHORT`."""
    config = presets.load(SHORT[0], SHORT[1:])
    return separation_peak(config, segment=44_100, batch_size=2, amp_dtype="bfloat16")


if __name__ == "__main__":
    found = {name: trained(*case).tensors for name, case in TRAINING.items()}
    found["separation"] = separated().tensors
    found |= {name: recorded(spec).tensors for name, (spec, _) in RECORDED.items()}
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
