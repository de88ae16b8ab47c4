"""Memory of a TF-Locoformer training step by formula, and what a plan says of it.

Microseconds instead of a second, and about 3 % from what a fake step finds; it knows this model's
code by heart, so nothing is decided on it alone. All figures in bytes; ``n`` counts tokens
(batch x frames x bands or bins), ``l`` is the length of the axis a path works along, ``a`` the
bytes of a value under autocast.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mssctl.hardware.machine import GIB
from mssctl.models.bands import band_widths
from mssctl.models.run_config import RunConfig
from mssctl.models.tf_locoformer.config import TFLocoformerConfig

# Found by least squares on fake steps: what the loss, its gradient and the inverse transform hold
# at the peak, per sample and per bin of each stem and channel.
PER_SAMPLE = 65.0
PER_BIN = 16.0


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


def shape_of(config: RunConfig) -> Shape:
    """Batch, frames, bins and bands of a training step."""
    stft, training = config.stft, config.training
    samples = training.segment_length
    padded = samples
    if 4 * stft.hop_length > stft.n_fft:
        padded = -(-samples // stft.hop_length) * stft.hop_length
    bins = stft.n_fft // 2 + 1
    rows, model = bins, TFLocoformerConfig.of(config)
    if model.front_end == "bands":
        rows = len(band_widths(model.freqs_per_bands, config.audio.sample_rate, stft.n_fft))
    return Shape(training.batch_size, samples, padded // stft.hop_length + 1, bins, rows)


class LocoformerMemory:
    """The closed form, see `mssctl.models.architecture.ClosedForm`."""

    def tokens(self, config: RunConfig) -> int:
        """``T Q``."""
        shape = shape_of(config)
        return shape.tokens // shape.batch

    def moments(
        self, config: RunConfig, sizes: Mapping[str, int], attention: str
    ) -> list[dict[str, int]]:
        """At the loss, and in the backward pass of the last block or path."""
        training, shape, model = config.training, shape_of(config), TFLocoformerConfig.of(config)
        total = sum(sizes.values())
        trunk = sum(size for name, size in sizes.items() if name.startswith("blocks."))
        a = 2 if training.amp_dtype == "bfloat16" else 4
        level = training.gradient_checkpointing
        axes = (shape.rows, shape.frames)
        freq, time = (path_bytes(config, length, a, attention) for length in axes)
        layers, tokens = model.n_layers, shape.tokens
        stream = a if model.front_end == "bands" else 4
        kept = {
            "none": (freq + time) * layers * tokens,
            "block": stream * model.emb_dim * layers * tokens,
            "path": 2 * stream * model.emb_dim * layers * tokens,
        }
        copies = 2 * total if a == 2 else 0
        ends = _ends(config, shape, a)
        at_loss = {
            "gradients": 4 * total if training.gradient_accumulation_steps > 1 else 0,
            "bf16 copies of weights": (
                copies if level == "none" else copies * (total - trunk) // total
            ),
            "blocks": round(kept[level]),
            **ends,
        }
        again = {"none": 0.0, "block": freq + time, "path": max(freq, time)}[level] * tokens
        held = copies * trunk // total
        in_blocks = {
            "gradients": 4 * (total if level != "none" else total - trunk),
            "bf16 copies of weights": held if level == "none" else held // layers,
            "blocks": round(kept[level]),
            "recomputed": round(again),
            "backward pass": round(max(_in_backward(config, n, a) for n in axes) * tokens),
            "batch": ends["batch"],
            "encoder": ends["encoder"],
        }
        return [at_loss, in_blocks]


def path_bytes(config: RunConfig, length: int, a: int, attention: str) -> float:
    """What one path saves for its backward pass, per token, along an axis of ``length``."""
    model = TFLocoformerConfig.of(config)
    dim, dropped = model.emb_dim, model.dropout > 0
    pad = model.conv1d_kernel - 1
    stream = a if model.front_end == "bands" else 4
    norm = stream * dim + a * dim + 4 * model.num_groups  # input, output, a scale per group
    total = 0.0
    for hidden in model.ffn_hidden_dim:
        gated = 2 * a + a + (1 if dropped else 0)  # value and gate, product, mask
        total += norm + hidden * gated * (length + pad) / length + (dim if dropped else 0)
    heads, size = model.n_heads, model.attention_dim
    # Rotated queries and keys lie beside the values; the output, and its heads side by side.
    total += norm + 3 * a * size + 2 * a * size + (dim if dropped else 0)
    if attention == "math":
        scores = 4 * heads * length * (1 + (1.25 if dropped else 0))
        return total + scores + (5 if a == 2 else 2) * 4 * size
    padded = -(-length // 32) * 32 if attention == "efficient" else length
    return total + 4 * heads * padded / length


def _in_backward(config: RunConfig, length: int, a: int) -> float:
    """What the last gate of a path holds in its backward pass besides what was saved, per token.

    Gradients of product, value and gate have come; the product and its mask have gone.
    """
    model = TFLocoformerConfig.of(config)
    stream = a if model.front_end == "bands" else 4
    dropped = 1 if model.dropout > 0 else 0
    hidden = model.ffn_hidden_dim[1] * (length + model.conv1d_kernel - 1) / length
    return hidden * (3 * a - a - dropped) + stream * model.emb_dim


def _ends(config: RunConfig, shape: Shape, a: int) -> dict[str, int]:
    """Encoder, decoder, masks and loss."""
    model, audio = TFLocoformerConfig.of(config), config.audio
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


def notes(config: RunConfig, attention: str | None) -> list[str]:
    """What a per-bin model costs, and what the math kernel keeps."""
    shape, model = shape_of(config), TFLocoformerConfig.of(config)
    found = []
    if model.front_end == "bins":
        found.append(
            f"front_end bins: {shape.rows} rows per frame instead of 62 bands, and attention "
            "along frequency that grows with the square of that"
        )
    if attention == "math":
        sequences = shape.batch * shape.frames
        size = sequences * model.n_heads * shape.rows**2 * 4
        found += [
            (
                "the math kernel keeps every attention score: one tensor of "
                f"{sequences} × {model.n_heads} × {shape.rows}² × 4 B = {size / GIB:.2f} GiB"
            ),
            (
                "frames are folded into the batch: attention along frequency runs on all "
                f"{sequences} frames at once, {model.n_heads} heads each"
            ),
        ]
    return found
