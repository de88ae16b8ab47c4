"""Memory of a TF-Locoformer training step by formula: to rank candidates and to explain.

Microseconds instead of a second, and about 3 % from what `fake_step` finds; it knows this model's
code by heart, so nothing is decided on it alone. All figures in bytes; ``n`` counts tokens
(batch x frames x bands or bins), ``l`` is the length of the axis a path works along, ``a`` the
bytes of a value under autocast.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from mssctl.config.schema import RunConfig, TFLocoformerConfig
from mssctl.models.bands import band_widths
from mssctl.models.registry import build
from mssctl.planning.predict.collector import no_collection
from mssctl.planning.predict.workspaces import CONTEXT, cublas

# Found by least squares on fake steps: what the loss, its gradient and the inverse transform hold
# at the peak, per sample and per bin of each stem and channel; and what the backward pass of one
# path holds beside what its forward pass saved, as a fraction of that.
PER_SAMPLE = 115.0
PER_BIN = 16.0
IN_BACKWARD = 0.11


@dataclass(frozen=True)
class Estimate:
    """Bytes by component at the peak, and their sum with context and cuBLAS."""

    parts: dict[str, int]

    @property
    def device(self) -> int:
        """What the card must have free."""
        return sum(self.parts.values())

    @property
    def allocated(self) -> int:
        """What PyTorch's allocator counts."""
        return self.device - CONTEXT


@dataclass(frozen=True)
class Shape:
    """Sizes that follow from a configuration."""

    batch: int
    samples: int
    frames: int
    bins: int
    rows: int  # bands, or bins

    @property
    def tokens(self) -> int:
        """``B T Q``."""
        return self.batch * self.frames * self.rows


def knows(config: RunConfig) -> bool:
    """Whether the formulas are for this model."""
    return isinstance(config.model, TFLocoformerConfig)


def _locoformer(config: RunConfig) -> TFLocoformerConfig:
    if not isinstance(config.model, TFLocoformerConfig):
        raise ValueError(f"no closed form for {config.model.name}")
    return config.model


def shape_of(config: RunConfig) -> Shape:
    """Batch, frames, bins and bands of a training step."""
    stft, training = config.stft, config.training
    samples = training.segment_length
    padded = samples
    if 4 * stft.hop_length > stft.n_fft:
        padded = -(-samples // stft.hop_length) * stft.hop_length
    bins = stft.n_fft // 2 + 1
    rows, model = bins, _locoformer(config)
    if model.front_end == "bands":
        rows = len(band_widths(model.freqs_per_bands, config.audio.sample_rate, stft.n_fft))
    return Shape(training.batch_size, samples, padded // stft.hop_length + 1, bins, rows)


def estimate(
    config: RunConfig, capability: tuple[int, int] = (9, 0), attention: str = "flash"
) -> Estimate:
    """Estimate the peak of a training step.

    Args:
        config: of a TF-Locoformer.
        capability: compute capability of the card.
        attention: kernel: flash, cudnn, efficient or math.
    """
    training, shape, model = config.training, shape_of(config), _locoformer(config)
    total, trunk = parameters(config)
    a = 2 if training.amp_dtype == "bfloat16" else 4
    level = training.gradient_checkpointing
    freq, time = (path_bytes(config, length, a, attention) for length in (shape.rows, shape.frames))
    layers, tokens = model.n_layers, shape.tokens
    stream = a if model.front_end == "bands" else 4
    kept = {
        "none": (freq + time) * layers * tokens,
        "block": stream * model.emb_dim * layers * tokens,
        "path": 2 * stream * model.emb_dim * layers * tokens,
    }
    copies = 2 * total if a == 2 else 0
    states = {
        "weights": 4 * total,
        "optimizer": 8 * total,
        "moving average": 4 * total if training.ema_momentum else 0,
        "cuBLAS": cublas(capability),
        "CUDA context": CONTEXT,
    }
    gradients = 4 * total if training.gradient_accumulation_steps > 1 else 0
    ends = _ends(config, shape, a)
    at_loss = {
        **states,
        "gradients": gradients,
        "bf16 copies of weights": copies if level == "none" else copies * (total - trunk) // total,
        "blocks": round(kept[level]),
        **ends,
    }
    if level == "none":
        return Estimate(at_loss)
    again = (freq + time if level == "block" else max(freq, time)) * tokens
    in_blocks = {
        **states,
        "gradients": 4 * total,
        "bf16 copies of weights": copies * trunk // total // layers,
        "blocks": round(kept[level]),
        "recomputed": round(again * (1 + IN_BACKWARD)),
        "batch": ends["batch"],
    }
    return max(Estimate(at_loss), Estimate(in_blocks), key=lambda item: item.device)


def path_bytes(config: RunConfig, length: int, a: int, attention: str) -> float:
    """What one path saves for its backward pass, per token, along an axis of ``length``."""
    model = _locoformer(config)
    dim, dropped = model.emb_dim, model.dropout > 0
    pad = model.conv1d_kernel - 1
    norm = 4 * dim + 4 * dim + 8 * model.num_groups  # input and output in float32; two RMS
    total = 0.0
    for hidden in model.ffn_hidden_dim:
        total += norm + a * dim * (length + 2 * pad) / length
        gated = 2 * a + a + (1 + a if dropped else a)  # value and gate, silu, mask and product
        total += hidden * gated * (length + pad) / length + (dim if dropped else 0)
    heads, size = model.n_heads, model.attention_dim
    turned = 2 * size * a if model.pos_enc == "rope" else 0
    total += norm + a * dim + 3 * a * size + turned + 2 * a * size + (dim if dropped else 0)
    if attention == "math":
        scores = 4 * heads * length * (1 + (1.25 if dropped else 0))
        return total + scores + (5 if a == 2 else 2) * 4 * size
    padded = -(-length // 32) * 32 if attention == "efficient" else length
    return total + 4 * heads * padded / length


def _ends(config: RunConfig, shape: Shape, a: int) -> dict[str, int]:
    """Encoder, decoder, masks and loss."""
    model, audio = _locoformer(config), config.audio
    outputs = shape.batch * len(audio.stems) * audio.channels
    spectrum = outputs * shape.bins * shape.frames
    mixture = shape.batch * audio.channels * shape.bins * shape.frames
    dim = model.emb_dim
    if model.front_end == "bands":
        hidden = model.mask_expansion * dim
        encoder = mixture * (8 + 8 + 2 * a)
        decoder = shape.tokens * (8 * dim + a * dim + 2 * a * hidden) + 4 * a * spectrum
    else:
        encoder = mixture * 8 + shape.tokens * 4 * dim
        decoder = shape.tokens * 4 * dim
    return {
        "batch": 4 * outputs * shape.samples + 4 * outputs // len(audio.stems) * shape.samples,
        "encoder": round(encoder),
        "masks": round(decoder + PER_BIN * spectrum),
        "loss": round(PER_SAMPLE * outputs * shape.samples),
    }


def parameters(config: RunConfig) -> tuple[int, int]:
    """Number of parameters in all and of the blocks, from a model without data."""
    return _parameters(RunConfig(audio=config.audio, stft=config.stft, model=config.model))


@lru_cache(maxsize=64)
def _parameters(config: RunConfig) -> tuple[int, int]:
    with no_collection(), torch.device("meta"):
        model = build(config)
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    blocks = sum(count for name, count in counts.items() if name.startswith("blocks."))
    return sum(counts.values()), blocks
