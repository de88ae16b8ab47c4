"""The section ``model`` of HTDemucs."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mssctl.config.model import ModelSection
from mssctl.config.schema import AudioConfig, STFTConfig
from mssctl.config.section import Few, Layers, NonNegative, Width, field

STRIDE = 4  # of every level, in both branches
Row = Annotated[tuple[NonNegative, ...], Field(min_length=1, max_length=64)]


class HTDemucsConfig(ModelSection):
    """HTDemucs (arXiv:2211.08553): U-Nets on spectrogram and waveform, joined by a transformer."""

    name: Literal["htdemucs"] = field("htdemucs", doc="The architecture.")
    depth: Annotated[int, Field(ge=1, le=6)] = field(
        4, unit="levels", doc="Levels of each U-Net; each is four times coarser than the last."
    )
    base_channels: Width = field(48, unit="features", doc="Features of the first level.")
    growth: Annotated[int, Field(ge=1, le=8)] = field(
        2, unit="1", doc="Features of a level, as a multiple of those of the one before."
    )
    dconv_depth: Annotated[int, Field(ge=1, le=8)] = field(
        2, unit="layers", doc="Dilated convolutions of the residual branch of each level."
    )
    dconv_compress: Few = field(
        8, unit="1", doc="Features of a level, as a multiple of those of its dilated convolutions."
    )
    n_layers: Layers = field(
        5, unit="layers", doc="Layers of the transformer, self- and cross-attention in turn."
    )
    emb_dim: Width | None = field(
        512, unit="features", doc="Features of the transformer; null: those of the last level."
    )
    n_heads: Few = field(8, unit="heads", doc="Heads of attention.")
    ffn_expansion: Few = field(
        4, unit="1", doc="Hidden features of a feed-forward, as a multiple of `emb_dim`."
    )
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = field(
        0.0, unit="probability", doc="Dropout of attention and feed-forwards."
    )
    bag: Annotated[tuple[Row, ...], Field(min_length=1, max_length=16)] | None = field(
        None,
        unit="1",
        doc="Several nets, averaged: for each net the weight of each of its stems; null: one net.",
    )

    @field_validator("bag", mode="before")
    @classmethod
    def _rows_are_tuples(cls, bag: Any) -> Any:
        """YAML and JSON have lists only."""
        if not isinstance(bag, list | tuple):
            return bag
        return tuple(tuple(row) if isinstance(row, list) else row for row in bag)

    @property
    def widths(self) -> list[int]:
        """Features of each level."""
        return [self.base_channels * self.growth**level for level in range(self.depth)]

    @property
    def width(self) -> int:
        """Features of the transformer."""
        return self.emb_dim or self.widths[-1]

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % 4 or self.width % self.n_heads:
            raise ValueError("emb_dim must be a multiple of 4 and of n_heads")
        if self.widths[-1] > 2**14:
            raise ValueError("base_channels * growth ** (depth - 1) is at most 16384")
        return self

    def check(self, audio: AudioConfig, stft: STFTConfig) -> None:
        """The bins can be divided by four at each level, and every stem has a net."""
        unit = 2 * STRIDE**self.depth
        if stft.n_fft % unit or stft.n_fft < 3 * unit:
            raise ValueError(f"stft.n_fft must be a multiple of {unit}, {3 * unit} or more")
        if 4 * stft.hop_length != stft.n_fft or stft.window != "hann":
            raise ValueError("htdemucs needs stft.hop_length = n_fft / 4 and a hann window")
        outputs = len(audio.outputs)
        for row in self.bag or ():
            if len(row) != outputs:
                raise ValueError(f"model.bag has rows of {len(row)} weights, for {outputs} stems")
        for stem, column in zip(audio.outputs, zip(*self.bag or (), strict=True), strict=False):
            if not sum(column):
                raise ValueError(f"model.bag: no net has a weight above 0 for {stem}")
