"""The section ``loss``: keys, types, defaults and checks of each loss.

A new loss is a class and a line of `LossConfig` here, and its formula in ``training/losses``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag, field_validator, model_validator

from mssctl.config.section import NonNegative, Positive, Section, WindowLength, named

SpectralWindows = Annotated[tuple[WindowLength, ...], Field(min_length=1, max_length=64)]
FrameLength = Annotated[int, Field(ge=1, le=131_072)]
Windows = Annotated[tuple[FrameLength, ...], Field(min_length=1, max_length=64)]


class WeightedLossConfig(Section):
    """What all losses share."""

    stem_weights: Annotated[tuple[NonNegative, ...], Field(max_length=64)] = ()

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

    name: Literal["combined"] = "combined"
    si_sdr: NonNegative = 1.0
    l1: NonNegative = 0.1
    spectral: NonNegative = 0.1
    spectral_n_fft: SpectralWindows = (2048, 1024, 512)

    @model_validator(mode="after")
    def _measures_something(self) -> CombinedLossConfig:
        if self.si_sdr + self.l1 + self.spectral <= 0:
            raise ValueError("at least one term needs a weight above 0")
        return self


class BSMamba2LossConfig(WeightedLossConfig):
    """``bsmamba2`` loss: L1 on waveforms, plus L1 on complex spectrograms at several windows.

    The windows' terms are summed. A transform is at least ``multi_stft_n_fft_min`` long, and its
    window filled up with zeros.
    """

    l1_time_weight: NonNegative = 10.0
    multi_stft_hop_size: FrameLength = 147
    multi_stft_n_fft_min: FrameLength = 2048
    name: Literal["bsmamba2"] = "bsmamba2"
    multi_stft_window_sizes: Windows = (4096, 2048, 1024, 512, 256)

    @property
    def shortest_segment(self) -> int:
        """Reflecting half a window needs more samples than that."""
        return max(*self.multi_stft_window_sizes, self.multi_stft_n_fft_min) // 2 + 1


class BSMamba2LightLossConfig(BSMamba2LossConfig):
    """``bsmamba2_light`` loss: as ``bsmamba2``, on magnitudes and at fewer windows."""

    name: Literal["bsmamba2_light"] = "bsmamba2_light"  # type: ignore[assignment]
    multi_stft_window_sizes: Windows = (2048, 1024, 512)


class L1LossConfig(WeightedLossConfig):
    """``l1`` loss: mean absolute difference of the waveforms."""

    name: Literal["l1"] = "l1"


class MultiResolutionSTFTLossConfig(WeightedLossConfig):
    """``multi_resolution_stft`` loss: magnitudes at several windows, and L1 on waveforms.

    ``convergence`` and ``log_magnitude`` weigh the two spectral terms, ``l1`` the waveforms:
    without it the loss does not hear polarity.
    """

    name: Literal["multi_resolution_stft"] = "multi_resolution_stft"
    convergence: NonNegative = 1.0
    log_magnitude: NonNegative = 1.0
    l1: NonNegative = 1.0
    spectral_n_fft: SpectralWindows = (2048, 1024, 512)

    @model_validator(mode="after")
    def _measures_something(self) -> MultiResolutionSTFTLossConfig:
        if self.convergence + self.log_magnitude + self.l1 <= 0:
            raise ValueError("at least one term needs a weight above 0")
        return self


class SNRLossConfig(WeightedLossConfig):
    """``snr`` loss: thresholded signal-to-noise ratio.

    Above ``snr_max`` dB nothing is gained. A silent target counts ``zero_ref_weight``.
    """

    name: Literal["snr"] = "snr"
    snr_max: Positive = 30.0
    zero_ref_weight: NonNegative = 0.1


LossConfig = Annotated[
    Annotated[CombinedLossConfig, Tag("combined")]
    | Annotated[BSMamba2LossConfig, Tag("bsmamba2")]
    | Annotated[BSMamba2LightLossConfig, Tag("bsmamba2_light")]
    | Annotated[L1LossConfig, Tag("l1")]
    | Annotated[MultiResolutionSTFTLossConfig, Tag("multi_resolution_stft")]
    | Annotated[SNRLossConfig, Tag("snr")],
    named("combined"),
]
