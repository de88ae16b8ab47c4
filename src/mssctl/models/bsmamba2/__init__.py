"""BSMamba2: Mamba-2 mixers along time and along bands, in both directions.

Source: arXiv:2508.14556.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from mssctl.models.architecture import Architecture, Kernel, Tree
from mssctl.models.bsmamba2.config import BSMamba2Config

if TYPE_CHECKING:
    from mssctl.models.base import Separator
    from mssctl.models.foreign import ForeignPreset
    from mssctl.models.layouts import Layout
    from mssctl.models.run_config import RunConfig


class BSMamba2Architecture(Architecture):
    """A state space model with an exact scan in chunks."""

    config = BSMamba2Config
    tiny: ClassVar[Tree] = {
        "model": {
            "name": "bsmamba2",
            "n_layers": 1,
            "emb_dim": 8,
            "expand": 2,
            "headdim": 4,
            "d_state": 8,
            "chunk_size": 16,
            "freqs_per_bands": "rule",
        },
        "stft": {"n_fft": 256, "hop_length": 64},
    }
    quick = False  # a scan is a hundred thousand small operations: half a minute
    parts: ClassVar[Mapping[str, str]] = {
        "blocks": "activations of the blocks",
        "encoder": "front end",
    }
    operations: ClassVar[Mapping[str, str]] = {
        "norm": "norm",
        "conv": "convolutions",
        "in_proj": "projections",
        "out_proj": "projections",
        "join": "projections",
        "mixer": "scan and gates",
        "ahead": "residuals",
        "back": "residuals",
        "encoder": "bands",
        "masks": "bands",
        "stft": "loss and transforms",
    }

    def build(self, config: RunConfig) -> Separator:
        """A `BSMamba2`."""
        from mssctl.models.bsmamba2.model import BSMamba2

        return BSMamba2(config)

    def kernel(self, config: RunConfig | None = None) -> Kernel:
        """The scan: what the first mixer along time sees at the start of a training."""
        from mssctl.models.bsmamba2.kernel import ScanKernel

        return ScanKernel(config)

    def foreign_presets(self) -> Sequence[ForeignPreset]:
        """Of older training scripts."""
        from mssctl.models.bsmamba2.foreign import SCRIPT

        return (SCRIPT,)

    def layouts(self) -> Mapping[str, Layout]:
        """Of the published checkpoints."""
        from mssctl.models.bsmamba2.official import LAYOUTS

        return LAYOUTS
