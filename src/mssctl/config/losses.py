"""The section ``loss``: keys, types, defaults and checks of each loss.

A new loss is a class and a line of `LossConfig` here, and its formula in ``training/losses``.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, Tag, field_validator, model_validator

from mssctl.config.section import NonNegative, Positive, Section, WindowLength, field, named

SpectralWindows = Annotated[tuple[WindowLength, ...], Field(min_length=1, max_length=64)]
FrameLength = Annotated[int, Field(ge=1, le=131_072)]
Windows = Annotated[tuple[FrameLength, ...], Field(min_length=1, max_length=64)]


class WeightedLossConfig(Section):
    """What all losses share."""

    stem_weights: Annotated[tuple[NonNegative, ...], Field(max_length=64)] = field(
        (), unit="1", doc="Weight of each stem, in the order of the model's; empty: all alike."
    )

    @property
    def shortest_segment(self) -> int:
        """Samples that a training example must have at least."""
        return 1

    @field_validator("stem_weights")
    @classmethod
    def _hears_a_stem(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if weights and sum(weights) <= 0:
            raise ValueError("at least one stem needs a weight above 0")
        return weights


class CombinedLossConfig(WeightedLossConfig):
    """``combined`` loss: weights of its terms and the windows of the spectral one."""

    name: Literal["combined"] = field(
        "combined", doc="Negative SI-SDR, L1 on waveforms and L1 on magnitudes."
    )
    si_sdr: NonNegative = field(1.0, unit="1", doc="Weight of the negative SI-SDR.")
    l1: NonNegative = field(0.1, unit="1", doc="Weight of the L1 distance of waveforms.")
    spectral: NonNegative = field(0.1, unit="1", doc="Weight of the L1 distance of magnitudes.")
    spectral_n_fft: SpectralWindows = field(
        (2048, 1024, 512), unit="samples", doc="Windows of that distance."
    )

    @model_validator(mode="after")
    def _measures_something(self) -> Self:
        if self.si_sdr + self.l1 + self.spectral <= 0:
            raise ValueError("at least one term needs a weight above 0")
        return self


class BSMamba2LossConfig(WeightedLossConfig):
    """``bsmamba2`` loss: L1 on waveforms, plus L1 on complex spectrograms at several windows.

    The windows' terms are summed.
    """

    l1_time_weight: NonNegative = field(
        10.0, unit="1", doc="Weight of the L1 distance of waveforms."
    )
    multi_stft_hop_size: FrameLength = field(
        147, unit="samples", doc="Distance between the frames of all transforms."
    )
    multi_stft_n_fft_min: FrameLength = field(
        2048, unit="samples", doc="Shortest transform; shorter windows are padded with zeros."
    )
    name: Literal["bsmamba2"] = field("bsmamba2", doc="The published loss of BSMamba2.")
    multi_stft_window_sizes: Windows = field(
        (4096, 2048, 1024, 512, 256), unit="samples", doc="Windows of the transforms."
    )

    @property
    def shortest_segment(self) -> int:
        """Reflecting half a window needs more samples than that."""
        return max(*self.multi_stft_window_sizes, self.multi_stft_n_fft_min) // 2 + 1


class BSMamba2LightLossConfig(BSMamba2LossConfig):
    """``bsmamba2_light`` loss: as ``bsmamba2``, on magnitudes and at fewer windows."""

    name: Literal["bsmamba2_light"] = field(  # type: ignore[assignment]
        "bsmamba2_light", doc="The same on magnitudes, at fewer windows."
    )
    multi_stft_window_sizes: Windows = field(
        (2048, 1024, 512), unit="samples", doc="Windows of the transforms."
    )


class L1LossConfig(WeightedLossConfig):
    """``l1`` loss: mean absolute difference of the waveforms."""

    name: Literal["l1"] = field("l1", doc="Mean absolute difference of the waveforms.")


class MultiResolutionSTFTLossConfig(WeightedLossConfig):
    """``multi_resolution_stft`` loss: magnitudes at several windows, and L1 on waveforms."""

    name: Literal["multi_resolution_stft"] = field(
        "multi_resolution_stft", doc="Magnitudes at several windows, and L1 on waveforms."
    )
    convergence: NonNegative = field(1.0, unit="1", doc="Weight of spectral convergence.")
    log_magnitude: NonNegative = field(
        1.0, unit="1", doc="Weight of the difference of log magnitudes."
    )
    l1: NonNegative = field(
        1.0, unit="1", doc="Weight of the L1 distance of waveforms, which alone sees polarity."
    )
    spectral_n_fft: SpectralWindows = field(
        (2048, 1024, 512), unit="samples", doc="Windows of the spectral terms."
    )

    @model_validator(mode="after")
    def _measures_something(self) -> Self:
        if self.convergence + self.log_magnitude + self.l1 <= 0:
            raise ValueError("at least one term needs a weight above 0")
        return self


class SNRLossConfig(WeightedLossConfig):
    """``snr`` loss: thresholded signal-to-noise ratio."""

    name: Literal["snr"] = field("snr", doc="Thresholded signal-to-noise ratio.")
    snr_max: Positive = field(30.0, unit="dB", doc="Ratio above which nothing is gained.")
    zero_ref_weight: NonNegative = field(0.1, unit="1", doc="Weight of a silent target.")


LossConfig = Annotated[
    Annotated[CombinedLossConfig, Tag("combined")]
    | Annotated[BSMamba2LossConfig, Tag("bsmamba2")]
    | Annotated[BSMamba2LightLossConfig, Tag("bsmamba2_light")]
    | Annotated[L1LossConfig, Tag("l1")]
    | Annotated[MultiResolutionSTFTLossConfig, Tag("multi_resolution_stft")]
    | Annotated[SNRLossConfig, Tag("snr")],
    named("combined"),
]
