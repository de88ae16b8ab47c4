"""Spleeter: a U-Net on magnitudes per stem; loads the published weights, and is not trained.

Source: Hennequin et al. (JOSS 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from mssctl.models.architecture import Architecture, Tree
from mssctl.models.spleeter.config import SpleeterConfig

if TYPE_CHECKING:
    from mssctl.models.base import Separator
    from mssctl.models.layouts import Layout
    from mssctl.models.run_config import RunConfig


class SpleeterArchitecture(Architecture):
    """For comparison, and where speed matters more than quality."""

    config = SpleeterConfig
    trainable = False
    tiny: ClassVar[Tree] = {
        "audio": {"stems": ["vocals", "accompaniment"]},
        "model": {"name": "spleeter", "bins": 64, "frames": 64, "width": 2},
        "stft": {"n_fft": 256, "hop_length": 64},
    }

    def build(self, config: RunConfig) -> Separator:
        """A `Spleeter`."""
        from mssctl.models.spleeter.model import Spleeter

        return Spleeter(config)

    def layouts(self) -> Mapping[str, Layout]:
        """Of the published weights, as PyTorch ports of them are stored."""
        from mssctl.models.spleeter.official import LAYOUTS

        return LAYOUTS
