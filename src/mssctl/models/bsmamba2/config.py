"""The section ``model`` of BSMamba2."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from mssctl.config.model import ModelSection
from mssctl.config.schema import AudioConfig, STFTConfig
from mssctl.config.section import Count, Few, Layers, Positive, Size, Width
from mssctl.models.bands_config import Bands, check_bands

ScanBackend = Literal["auto", "torch", "compiled", "mamba_ssm"]


class BSMamba2Config(ModelSection):
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

    def check(self, audio: AudioConfig, stft: STFTConfig) -> None:
        """The bands are those of the transform."""
        check_bands(self.freqs_per_bands, stft)
