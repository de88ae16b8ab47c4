"""Every key of a preset: its type, default, unit, meaning and check.

A preset (YAML) lists only what differs from the defaults here. Unknown keys are errors; a test
asserts that each key is read somewhere outside this file. Imports neither torch nor numpy.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from mssctl.config import bounds
from mssctl.config.bounds import Checkpointing
from mssctl.config.metrics import MetricName
from mssctl.config.section import (
    Batch,
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
    field,
    within,
)

StemName = Annotated[str, Field(min_length=1, max_length=100)]


class AudioConfig(Section):
    """The signals: ``(channels, samples)`` for the mixture and for each stem."""

    sample_rate: Annotated[int, within(bounds.SAMPLE_RATE)] = field(
        44_100, unit="Hz", doc="Sample rate of the model's input and output."
    )
    channels: Annotated[int, Field(ge=1, le=2)] = field(2, unit="channels", doc="Mono or stereo.")
    stems: Annotated[tuple[StemName, ...], Field(min_length=1, max_length=64)] = field(
        ("vocals", "drums", "bass", "other"), doc="Names of the stems, which add up to the mixture."
    )
    target_instrument: str | None = field(
        None, doc="The one stem that the model estimates; null: all of `stems`."
    )

    @property
    def outputs(self) -> tuple[str, ...]:
        """The stems that the model estimates."""
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
    def _targets_a_stem(self) -> Self:
        if self.target_instrument is not None and self.target_instrument not in self.stems:
            raise ValueError("target_instrument must be one of stems")
        return self


class STFTConfig(Section):
    """The transform around a spectral model: periodic window, centered, reflect padding."""

    n_fft: Annotated[int, within(bounds.N_FFT), Field(multiple_of=2)] = field(
        2048, unit="samples", doc="Length of the transform and of its window."
    )
    hop_length: Size = field(512, unit="samples", doc="Distance between frames, up to n_fft / 2.")
    window: Literal["hann", "sqrt_hann", "rectangular"] = field(
        "hann", doc="Window of analysis and synthesis."
    )

    @model_validator(mode="after")
    def _overlaps(self) -> Self:
        if self.hop_length * 2 > self.n_fft:
            raise ValueError("hop_length must be at most n_fft / 2")
        return self


class OptimizerConfig(Section):
    """AdamW."""

    name: Literal["adamw"] = field("adamw", doc="The optimizer.")
    lr: Positive = field(5e-4, unit="1", doc="Learning rate.", resumable=True)
    weight_decay: NonNegative = field(0.01, unit="1", doc="Decoupled weight decay.", resumable=True)
    betas: tuple[Momentum, Momentum] = field(
        (0.9, 0.999), unit="1", doc="Decay of the averages of the gradient and of its square."
    )
    eps: Positive = field(1e-8, unit="1", doc="Added to the denominator of a step.")
    fused: bool = field(True, doc="Run the whole update in one kernel.", resumable=True)


class SchedulerConfig(Section):
    """The learning rate over a run, after a linear warm-up."""

    name: Literal["plateau", "cosine", "constant"] = field(
        "plateau",
        doc="`plateau` lowers it when validation stops improving; `cosine` falls to `min_lr` over "
        "the whole run.",
        resumable=True,
    )
    warmup_steps: CountOrNone = field(
        0, unit="steps", doc="Length of the linear warm-up.", resumable=True
    )
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = field(
        0.5, unit="1", doc="`plateau`: factor for the learning rate.", resumable=True
    )
    patience: CountOrNone = field(
        8,
        unit="validations",
        doc="`plateau`: how many may pass without a better score.",
        resumable=True,
    )
    min_lr: NonNegative = field(
        1e-7, unit="1", doc="Smallest learning rate of `plateau` and `cosine`.", resumable=True
    )


class DataConfig(Section):
    """How training examples are drawn from stems, changed and mixed.

    Each effect has a probability (0 turns it off) and, where it has a strength, the range from
    which the strength is drawn uniformly. ``pitch`` and ``tempo``, which need the package
    python-stretch, come first; then, for each stem, ``eq``, ``compress``, ``clip``, ``reverb``,
    ``gain``, ``flip_polarity``, ``swap_channels`` and ``stem_dropout``; then, for the whole
    example, ``mono`` and ``codec``.
    """

    remix: Probability = field(
        0.5, unit="probability", doc="Take a stem of an example from another song."
    )
    balanced: bool = field(
        False,
        doc="Draw a stem first, each alike, and then a song that has it: rare stems as often.",
    )
    active_db: Decibels = field(
        -50.0, unit="dBFS RMS", doc="Segments quieter than this are drawn again."
    )
    redraws: Annotated[int, Field(ge=0, le=1000)] = field(
        4, unit="draws", doc="How often a quiet segment is drawn again."
    )
    weights: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=4096)] | None = field(
        None, unit="1", doc="Share of each `--data` folder, in their order; null: by its songs."
    )
    gain: Probability = field(1.0, unit="probability", doc="Change the level of a stem.")
    gain_db: Range = field((-6.0, 6.0), unit="dB", doc="Range of that gain.")
    stem_dropout: Probability = field(
        0.05, unit="probability", doc="Silence a stem, but never all of them."
    )
    swap_channels: Probability = field(
        0.5, unit="probability", doc="Swap left and right of a stem."
    )
    flip_polarity: Probability = field(
        0.5, unit="probability", doc="Invert the polarity of a stem."
    )
    pitch: Probability = field(
        0.0, unit="probability", doc="Shift the pitch of all stems of an excerpt alike."
    )
    pitch_semitones: tuple[Semitones, Semitones] = field(
        (-2.0, 2.0), unit="semitones", doc="Range of that shift."
    )
    tempo: Probability = field(
        0.0, unit="probability", doc="Change the tempo of all stems of an excerpt alike."
    )
    tempo_ratio: tuple[Tempo, Tempo] = field(
        (0.9, 1.1), unit="1", doc="Range of that change; 1.1 is 10 % faster."
    )
    eq: Probability = field(
        0.0, unit="probability", doc="Equalize a stem: low shelf, peak and high shelf."
    )
    eq_db: Range = field((-6.0, 6.0), unit="dB", doc="Range of the gain of each of its bands.")
    compress: Probability = field(0.0, unit="probability", doc="Compress the dynamics of a stem.")
    compress_ratio: tuple[Ratio, Ratio] = field(
        (1.5, 6.0), unit="1", doc="Range of the compression ratio."
    )
    clip: Probability = field(0.0, unit="probability", doc="Clip a stem softly.")
    clip_db: tuple[NonNegative, NonNegative] = field(
        (0.0, 12.0), unit="dB", doc="Range of the drive into soft clipping."
    )
    reverb: Probability = field(0.0, unit="probability", doc="Add reverb to a stem.")
    reverb_seconds: tuple[Tail, Tail] = field(
        (0.2, 1.5), unit="s", doc="Range of its decay to -60 dB."
    )
    reverb_db: Range = field(
        (-24.0, -9.0), unit="dB", doc="Range of its level, relative to the stem."
    )
    mono: Probability = field(
        0.0, unit="probability", doc="Make all channels of an example the same."
    )
    codec: Probability = field(
        0.0, unit="probability", doc="Add coding noise to an example, as a lossy codec does."
    )
    codec_db: tuple[NonNegative, NonNegative] = field(
        (9.0, 24.0), unit="dB", doc="Range of its signal-to-noise ratio."
    )
    codec_hz: tuple[Positive, Positive] = field(
        (11_000.0, 19_000.0), unit="Hz", doc="Range of the highest frequency that is kept."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for key in type(self).model_fields:
            value = getattr(self, key)
            if key != "weights" and isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{key} is (lowest, highest)")
        return self


class TrainingConfig(Section):
    """The run: its length, the batch, what it computes with and what it keeps.

    One optimizer step sees ``batch_size * gradient_accumulation_steps`` examples, whatever the
    number of processes.
    """

    num_epochs: Count = field(300, unit="epochs", doc="Length of the run.", resumable=True)
    steps_per_epoch: Count = field(
        1000, unit="steps", doc="Optimizer steps from one validation to the next."
    )
    segment_length: Annotated[int, Field(ge=1, le=2**28)] = field(
        220_500, unit="samples", doc="Length of an example."
    )
    batch_size: Batch = field(
        4,
        unit="examples",
        doc="Examples per forward pass; changes with `gradient_accumulation_steps` only, so that "
        "their product stays.",
        resumable=True,
    )
    gradient_accumulation_steps: Size = field(
        1, unit="passes", doc="Forward passes per optimizer step.", resumable=True
    )
    gradient_clip: Positive = field(
        5.0, unit="L2 norm", doc="Clip the gradient norm to this.", resumable=True
    )
    gradient_checkpointing: Checkpointing = field(
        "none",
        doc="Recompute activations in the backward pass: none of them, or from the input of each "
        "`block`, or of each `path` within it.",
        resumable=True,
    )
    ema_momentum: Momentum = field(
        0.999, unit="1", doc="Momentum of the moving average of the weights; 0 turns it off."
    )
    amp_dtype: Literal["bfloat16", "float32"] = field(
        "bfloat16", doc="Dtype of autocast.", resumable=True
    )
    tf32: bool = field(True, doc="Allow TF32 in float32 matrix products.", resumable=True)
    cudnn_benchmark: bool = field(
        True, doc="Let cuDNN time its convolutions and choose.", resumable=True
    )
    flash_attention: bool = field(
        True, doc="Use fused attention kernels; false: the math kernel.", resumable=True
    )
    compile: bool = field(
        False,
        doc="Put the repeated parts of the model through torch.compile; memory is predicted "
        "without it.",
        resumable=True,
    )
    freeze: Annotated[tuple[str, ...], Field(max_length=1000)] = field(
        (), doc="Parameters whose names start with one of these are not trained."
    )
    seed: Annotated[int, within(bounds.SEED)] = field(
        0, unit="1", doc="Seed of the weights and of all examples."
    )
    num_workers: Annotated[int, Field(ge=0, le=1024)] = field(
        4, unit="processes", doc="Processes that load examples; 0: the main one.", resumable=True
    )
    prefetch_factor: Annotated[int, Field(ge=1, le=1024)] = field(
        4,
        unit="batches",
        doc="Batches that each of them loads ahead; fewer where all would take over 2 GiB.",
        resumable=True,
    )
    validate_songs: CountOrNone = field(
        0,
        unit="songs",
        doc="Songs to validate on; 0: all. A change starts the best score over.",
        resumable=True,
    )
    validate_metric: MetricName = field(
        "sdr",
        doc="Metric that selects the best weights. A change starts the best score over.",
        resumable=True,
    )
    early_stopping: CountOrNone = field(
        0,
        unit="validations",
        doc="End the run after this many without a better score; 0: never.",
        resumable=True,
    )
    save_every_steps: CountOrNone = field(
        0,
        unit="steps",
        doc="Steps between checkpoints; 0: one at the end of each epoch.",
        resumable=True,
    )
    keep_last: Count = field(
        2, unit="checkpoints", doc="How many of the newest checkpoints to keep.", resumable=True
    )
    tensorboard: bool = field(
        False, doc="Write curves and audio to RUN/tensorboard.", resumable=True
    )
