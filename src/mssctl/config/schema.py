"""Every key of a preset: its type, default, unit and check.

A preset (YAML) lists only what differs from the defaults here. Unknown keys are errors; a test
asserts that each key is read somewhere outside this file. Imports neither torch nor numpy.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag, field_validator, model_validator

from mssctl.config.bounds import BATCH, N_FFT, OVERLAP, SAMPLE_RATE, SEED, SEGMENT_SECONDS
from mssctl.config.losses import (
    BSMamba2LightLossConfig,
    BSMamba2LossConfig,
    CombinedLossConfig,
    LossConfig,
)
from mssctl.config.section import (
    Count,
    CountOrNone,
    Decibels,
    Few,
    Layers,
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
    Width,
    named,
    within,
)

StemName = Annotated[str, Field(min_length=1, max_length=100)]
Checkpointing = Literal["none", "block", "path"]
Batch = Annotated[int, within(BATCH)]
Bands = Literal["bands62", "rule"] | Annotated[tuple[Size, ...], Field(max_length=4096)]
ScanBackend = Literal["auto", "torch", "compiled", "mamba_ssm"]


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


class TFLocoformerConfig(Section):
    """TF-Locoformer (arXiv:2408.03440), per band (default) or per bin.

    ``ffn_hidden_dim`` lists the hidden sizes of the feed-forward before and after attention.
    ``freqs_per_bands`` is ``bands62`` (62 bands of the same Hz layout at n_fft 2048 and 4096),
    ``rule`` (bands computed from frequency ranges for any rate and n_fft) or explicit widths.
    ``mask_mlp`` is the place of the non-linearities in the band decoder: ``standalone``
    (tanh after the first layer), ``mixit`` (after the second) or ``tuss`` (after both).
    ``normalize`` scales each input to a root mean square of 1 and the output back.
    """

    name: Literal["tf_locoformer"] = "tf_locoformer"
    front_end: Literal["bands", "bins"] = "bands"
    freqs_per_bands: Bands = "bands62"
    n_layers: Layers = 6
    emb_dim: Width = 96
    attention_dim: Width = 96
    n_heads: Few = 6
    ffn_hidden_dim: tuple[Size, Size] = (384, 384)
    conv1d_kernel: Few = 4
    num_groups: Width = 4
    eps: Positive = 1e-5
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    pos_enc: Literal["rope", "nope"] = "rope"
    tf_order: Literal["ft", "tf"] = "ft"
    masking: Literal["complex", "mapping"] = "complex"
    mask_mlp: Literal["standalone", "mixit", "tuss"] = "standalone"
    mask_expansion: Few = 4
    normalize: bool = True

    @model_validator(mode="after")
    def _divides(self) -> TFLocoformerConfig:
        if self.emb_dim % self.num_groups:
            raise ValueError("emb_dim must be a multiple of num_groups")
        if self.attention_dim % (2 * self.n_heads):
            raise ValueError("attention_dim must be an even multiple of n_heads")
        return self


class BSMamba2Config(Section):
    """BSMamba2 (arXiv:2508.14556): Mamba-2 mixers along time and bands, in both directions.

    ``freqs_per_bands`` as for ``tf_locoformer``. A mixer has ``expand * emb_dim`` inner features
    in heads of ``headdim``, a state of ``d_state`` per feature and a convolution of ``d_conv``
    steps. At the start decay rates are drawn from ``A_init_range`` and step sizes
    log-uniformly between ``dt_min`` and ``dt_max``, at least ``dt_init_floor``.

    ``chunk_size`` (steps per chunk of the scan) and ``slice_positions`` (positions that go through
    a mixer at once, whole sequences but at least one) bound memory and change no result.
    ``scan_backend``: ``torch``, ``compiled`` (the same under torch.compile), ``mamba_ssm`` (the
    kernels of that package), or ``auto``: compiled on CUDA, torch elsewhere.
    """

    name: Literal["bsmamba2"] = "bsmamba2"
    freqs_per_bands: Bands = "bands62"
    n_layers: Layers = 6
    emb_dim: Width = 256
    expand: Few = 4
    d_state: Width = 128
    d_conv: Few = 4
    headdim: Width = 64
    A_init_range: tuple[Positive, Positive] = (1.0, 16.0)
    dt_min: Positive = 1e-3
    dt_max: Positive = 0.1
    dt_init_floor: Positive = 1e-4
    mask_expansion: Few = 4
    chunk_size: Size = 64
    slice_positions: Count = 16_384
    scan_backend: ScanBackend = "auto"

    @model_validator(mode="after")
    def _divides(self) -> BSMamba2Config:
        if self.expand * self.emb_dim % self.headdim:
            raise ValueError("expand * emb_dim must be a multiple of headdim")
        return self

    @model_validator(mode="after")
    def _ranges(self) -> BSMamba2Config:
        if self.A_init_range[0] > self.A_init_range[1] or self.dt_min > self.dt_max:
            raise ValueError("A_init_range and dt_min, dt_max are (lowest, highest)")
        return self


ModelConfig = Annotated[
    Annotated[TFLocoformerConfig, Tag("tf_locoformer")]
    | Annotated[BSMamba2Config, Tag("bsmamba2")],
    named("tf_locoformer"),
]


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


class RunConfig(Section):
    """Everything a run needs, resolved: what ``config.yaml`` in a run folder holds."""

    description: Annotated[str, Field(max_length=10_000)] = ""
    audio: AudioConfig = AudioConfig()
    stft: STFTConfig = STFTConfig()
    model: ModelConfig = TFLocoformerConfig()
    loss: LossConfig = CombinedLossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    separation: SeparationConfig = SeparationConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        bands = self.model.freqs_per_bands
        if not (isinstance(self.model, TFLocoformerConfig) and self.model.front_end == "bins"):
            bins = self.stft.n_fft // 2 + 1
            if isinstance(bands, tuple) and sum(bands) != bins:
                raise ValueError(
                    f"model.freqs_per_bands sums to {sum(bands)}, n_fft has {bins} bins"
                )
            if bands == "bands62" and self.stft.n_fft not in (2048, 4096):
                raise ValueError(
                    "model.freqs_per_bands: bands62 is for n_fft 2048 and 4096; use rule"
                )
        weights, outputs = len(self.loss.stem_weights), len(self.audio.outputs)
        if weights not in (0, outputs):
            raise ValueError(f"loss.stem_weights has {weights} values, the model {outputs} stems")
        if isinstance(self.loss, BSMamba2LossConfig | BSMamba2LightLossConfig):
            longest = max(*self.loss.multi_stft_window_sizes, self.loss.multi_stft_n_fft_min)
            if self.training.segment_length <= longest // 2:
                raise ValueError("training.segment_length is too short for the loss's windows")
        if self.training.segment_length < self.stft.n_fft:
            raise ValueError("training.segment_length is shorter than stft.n_fft")
        return self
