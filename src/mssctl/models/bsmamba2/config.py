"""The section ``model`` of BSMamba2."""

from typing import Literal, Self

from pydantic import model_validator

from mssctl.config.model import ModelSection
from mssctl.config.schema import AudioConfig, STFTConfig
from mssctl.config.section import Count, Few, Layers, Positive, Size, Width, field
from mssctl.models.bands_config import Bands, bands_field, check_bands

ScanBackend = Literal["auto", "torch", "compiled", "mamba_ssm"]


class BSMamba2Config(ModelSection):
    """BSMamba2 (arXiv:2508.14556): Mamba-2 mixers along time and bands, in both directions."""

    name: Literal["bsmamba2"] = field("bsmamba2", doc="The architecture.")
    freqs_per_bands: Bands = bands_field()
    n_layers: Layers = field(6, unit="layers", doc="Layers, each along time and along bands.")
    emb_dim: Width = field(256, unit="features", doc="Features of a band.")
    expand: Few = field(4, unit="1", doc="Inner features of a mixer, as a multiple of `emb_dim`.")
    d_state: Width = field(128, unit="features", doc="State of each inner feature.")
    d_conv: Few = field(4, unit="steps", doc="Length of a mixer's convolution.")
    headdim: Width = field(64, unit="features", doc="Inner features of a head.")
    A_init_range: tuple[Positive, Positive] = field(
        (1.0, 16.0), unit="1", doc="Range of the initial decay rates."
    )
    dt_min: Positive = field(1e-3, unit="1", doc="Smallest initial step size (log-uniform).")
    dt_max: Positive = field(0.1, unit="1", doc="Largest initial step size.")
    dt_init_floor: Positive = field(1e-4, unit="1", doc="Lower bound of initial step sizes.")
    mask_expansion: Few = field(
        4, unit="1", doc="Hidden features of the mask decoder, as a multiple of `emb_dim`."
    )
    chunk_size: Size = field(
        64, unit="steps", doc="Steps per chunk of the scan; bounds memory.", resumable=True
    )
    slice_positions: Count = field(
        16_384,
        unit="positions",
        doc="Positions that pass a mixer at once, in whole sequences; bounds memory.",
        resumable=True,
    )
    scan_backend: ScanBackend = field(
        "auto",
        doc="`torch`, `compiled` (the same under torch.compile) or `mamba_ssm` (that package's "
        "kernels); `auto`: compiled on CUDA, else torch.",
        resumable=True,
    )

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.expand * self.emb_dim % self.headdim:
            raise ValueError("expand * emb_dim must be a multiple of headdim")
        return self

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if self.A_init_range[0] > self.A_init_range[1] or self.dt_min > self.dt_max:
            raise ValueError("A_init_range and dt_min, dt_max are (lowest, highest)")
        return self

    def check(self, audio: AudioConfig, stft: STFTConfig) -> None:
        """The bands are those of the transform."""
        check_bands(self.freqs_per_bands, stft)
