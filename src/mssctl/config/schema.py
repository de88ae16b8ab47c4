"""Every key of a preset: its type, default, unit and check.

A preset (YAML) lists only what differs from the defaults here. Unknown keys are errors; a test
asserts that each key is read somewhere outside this file. Imports neither torch nor numpy.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mssctl.config.bounds import BATCH, N_FFT, OVERLAP, SAMPLE_RATE, SEED, SEGMENT_SECONDS
from mssctl.config.section import (
    Count,
    CountOrNone,
    Decibels,
    Momentum,
    NonNegative,
    Positive,
    Probability,
    Range,
    Ratio,
    Section,
    Semitones,
    Size,
    Tail,
    Tempo,
    within,
)

StemName = Annotated[str, Field(min_length=1, max_length=100)]
Checkpointing = Literal["none", "block", "path"]
Batch = Annotated[int, within(BATCH)]


class AudioConfig(Section):
    """What goes in and comes out: ``(channels, samples)`` at ``sample_rate`` Hz, per stem.

    ``stems`` add up to the mixture. A model gives all of them, or with ``target_instrument`` that
    one alone.
    """

    sample_rate: Annotated[int, within(SAMPLE_RATE)] = 44_100
    channels: Annotated[int, Field(ge=1, le=2)] = 2
    stems: Annotated[tuple[StemName, ...], Field(min_length=1, max_length=64)] = (
        "vocals",
        "drums",
        "bass",
        "other",
    )
    target_instrument: str | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The stems that the model gives."""
        return self.stems if self.target_instrument is None else (self.target_instrument,)

    @property
    def complete(self) -> bool:
        """Whether the model's stems make up the whole mixture."""
        return self.outputs == self.stems

    @field_validator("stems")
    @classmethod
    def _names_are_file_names(cls, stems: tuple[str, ...]) -> tuple[str, ...]:
        for stem in stems:
            if not stem.replace("_", "").replace("-", "").isalnum() or stem == "mixture":
                raise ValueError(f"stem {stem!r}: letters, digits, - and _ only, not 'mixture'")
        if len(set(stems)) != len(stems):
            raise ValueError("stems must differ")
        return stems

    @model_validator(mode="after")
    def _targets_a_stem(self) -> AudioConfig:
        if self.target_instrument is not None and self.target_instrument not in self.stems:
            raise ValueError("target_instrument must be one of stems")
        return self


class STFTConfig(Section):
    """The transform around a spectral model: periodic window, centred, reflect padding."""

    n_fft: Annotated[int, within(N_FFT), Field(multiple_of=2)] = 2048
    hop_length: Size = 512
    window: Literal["hann", "sqrt_hann"] = "hann"

    @model_validator(mode="after")
    def _overlaps(self) -> STFTConfig:
        if self.hop_length * 2 > self.n_fft:
            raise ValueError("hop_length must be at most n_fft / 2")
        return self


class OptimizerConfig(Section):
    """AdamW. ``fused`` runs the whole update in one kernel."""

    name: Literal["adamw"] = "adamw"
    lr: Positive = 5e-4
    weight_decay: NonNegative = 0.01
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    eps: Positive = 1e-8
    fused: bool = True


class SchedulerConfig(Section):
    """Linear warm-up over ``warmup_steps``, then halving when validation stops improving.

    ``cosine`` falls to ``min_lr`` over the whole run instead, and ``constant`` stays: neither needs
    a validation.
    """

    name: Literal["plateau", "cosine", "constant"] = "plateau"
    warmup_steps: CountOrNone = 0
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    patience: CountOrNone = 8
    min_lr: NonNegative = 1e-7


class DataConfig(Section):
    """How training examples are drawn from stems, changed and mixed.

    ``remix``: probability that each stem of an example comes from another song.
    ``active_db``: segments quieter than this (dBFS RMS) are drawn again, up to ``redraws`` times.
    ``weights``: how often each ``--data`` root is drawn from, in their order; null: by its songs.

    Each effect has a probability (0 is off) and, where it has a strength, the range that this is
    drawn from evenly. To all stems from one place alike: ``pitch`` in semitones and ``tempo`` (1.1
    is 10 % faster), which need the package python-stretch. To each stem on its own, in this order:
    ``eq`` (gain of each of three bands in dB), ``compress`` (ratio), ``clip`` (dB into soft
    clipping), ``reverb`` (seconds to -60 dB, and level in dB relative to the stem), then ``gain``,
    ``flip_polarity``, ``swap_channels`` and ``stem_dropout`` (never all stems). To the whole
    example: ``mono`` makes all channels the same, and ``codec`` adds coding noise
    (signal-to-noise ratio in dB, and the highest frequency kept, in Hz).
    """

    remix: Probability = 0.5
    active_db: Decibels = -50.0
    redraws: Annotated[int, Field(ge=0, le=1000)] = 4
    weights: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=4096)] | None = None
    gain: Probability = 1.0
    gain_db: Range = (-6.0, 6.0)
    stem_dropout: Probability = 0.05
    swap_channels: Probability = 0.5
    flip_polarity: Probability = 0.5
    pitch: Probability = 0.0
    pitch_semitones: tuple[Semitones, Semitones] = (-2.0, 2.0)
    tempo: Probability = 0.0
    tempo_ratio: tuple[Tempo, Tempo] = (0.9, 1.1)
    eq: Probability = 0.0
    eq_db: Range = (-6.0, 6.0)
    compress: Probability = 0.0
    compress_ratio: tuple[Ratio, Ratio] = (1.5, 6.0)
    clip: Probability = 0.0
    clip_db: tuple[NonNegative, NonNegative] = (0.0, 12.0)
    reverb: Probability = 0.0
    reverb_seconds: tuple[Tail, Tail] = (0.2, 1.5)
    reverb_db: Range = (-24.0, -9.0)
    mono: Probability = 0.0
    codec: Probability = 0.0
    codec_db: tuple[NonNegative, NonNegative] = (9.0, 24.0)
    codec_hz: tuple[Positive, Positive] = (11_000.0, 19_000.0)

    @model_validator(mode="after")
    def _ordered(self) -> DataConfig:
        for key in type(self).model_fields:
            value = getattr(self, key)
            if key != "weights" and isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{key} is (lowest, highest)")
        return self


class TrainingConfig(Section):
    """The run: lengths in samples, batch per device, and what the machine should do.

    ``segment_length``: samples per example. One optimizer step sees
    ``batch_size * gradient_accumulation_steps`` examples. ``ema_momentum`` 0 turns the moving
    average of the weights off. ``validate_songs`` 0 means all. ``save_every_steps`` 0 means at
    the end of each epoch only. ``early_stopping`` ends the run after so many validations without
    a better score; 0 never. ``tensorboard`` writes curves and audio to RUN/tensorboard. ``compile``
    puts the repeated parts of the model through torch.compile; memory is predicted without it.
    """

    num_epochs: Count = 300
    steps_per_epoch: Count = 1000
    segment_length: Annotated[int, Field(ge=1, le=2**28)] = 220_500
    batch_size: Batch = 4
    gradient_accumulation_steps: Size = 1
    gradient_clip: Positive = 5.0
    gradient_checkpointing: Checkpointing = "none"
    ema_momentum: Momentum = 0.999
    amp_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    tf32: bool = True
    cudnn_benchmark: bool = True
    flash_attention: bool = True
    compile: bool = False
    seed: Annotated[int, within(SEED)] = 0
    num_workers: Annotated[int, Field(ge=0, le=1024)] = 4
    prefetch_factor: Annotated[int, Field(ge=1, le=1024)] = 4
    validate_songs: CountOrNone = 0
    validate_metric: Literal["sdr", "csdr", "si_sdr"] = "sdr"
    early_stopping: CountOrNone = 0
    save_every_steps: CountOrNone = 0
    keep_last: Count = 2
    tensorboard: bool = False


class SeparationConfig(Section):
    """How whole songs are cut, in validation, ``eval`` and ``separate`` alike.

    ``segment_seconds`` None: the training segment. ``overlap`` is a fraction of the segment.
    """

    segment_seconds: Annotated[float, within(SEGMENT_SECONDS)] | None = None
    overlap: Annotated[float, within(OVERLAP)] = 0.25
    fade: Literal["hann", "linear"] = "hann"
    batch_size: Batch = 1
