"""The section ``model`` of SCNet."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mssctl.config.model import ModelSection
from mssctl.config.schema import AudioConfig, STFTConfig
from mssctl.config.section import Few, Layers, Width, field

Three = tuple[Few, Few, Few]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class SCNetConfig(ModelSection):
    """SCNet (arXiv:2401.13276): three bands, each compressed as much as it needs."""

    name: Literal["scnet"] = field("scnet", doc="The architecture.")
    dims: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)] = field(
        (32, 64, 128), unit="features", doc="Features after each level of the encoder."
    )
    band_shares: tuple[Share, Share, Share] = field(
        (0.175, 0.392, 0.433), unit="1", doc="Shares of the bins in the low, mid and high band."
    )
    band_strides: Three = field((1, 4, 16), unit="bins", doc="How much each level compresses them.")
    band_kernels: Three = field((3, 4, 16), unit="bins", doc="Lengths of those convolutions.")
    conv_depths: Three = field((3, 2, 1), unit="layers", doc="Convolution modules in each band.")
    conv_kernel: Few = field(3, unit="steps", doc="Length of their convolutions, odd.")
    compress: Few = field(4, unit="1", doc="Factor by which they have fewer features inside.")
    n_layers: Layers = field(6, unit="layers", doc="Dual-path layers, an even number.")
    expand: Few = field(1, unit="1", doc="Features of their LSTMs, as a multiple of the last dim.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.n_layers % 2 or not self.conv_kernel % 2:
            raise ValueError("n_layers must be even, conv_kernel odd")
        if abs(sum(self.band_shares) - 1) > 1e-3:
            raise ValueError("band_shares must add up to 1")
        if min(self.dims) < self.compress:
            raise ValueError("dims must be at least compress")
        for stride, kernel in zip(self.band_strides, self.band_kernels, strict=True):
            if kernel < stride:
                raise ValueError("band_kernels must not be shorter than band_strides")
        return self

    def check(self, audio: AudioConfig, stft: STFTConfig) -> None:
        """Every level leaves some bins in every band."""
        bins = stft.n_fft // 2 + 1
        for _ in self.dims:
            if bins < 8:
                raise ValueError("model.dims: n_fft has too few bins for so many levels")
            bins = sum(
                max(1, int(bins * share) // stride)
                for share, stride in zip(self.band_shares, self.band_strides, strict=True)
            )
