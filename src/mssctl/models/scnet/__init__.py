"""SCNet: bands compressed as much as each needs, and dual-path recurrence between.

Source: Tong et al. (arXiv:2401.13276).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from mssctl.models.architecture import Architecture, Tree
from mssctl.models.scnet.config import SCNetConfig

if TYPE_CHECKING:
    from mssctl.models.base import Separator
    from mssctl.models.foreign import ForeignPreset
    from mssctl.models.layouts import Layout
    from mssctl.models.run_config import RunConfig


class SCNetArchitecture(Architecture):
    """A small model that is good for its cost."""

    config = SCNetConfig
    tiny: ClassVar[Tree] = {
        "model": {"name": "scnet", "dims": [8, 12], "n_layers": 2, "conv_depths": [1, 1, 1]},
        "stft": {"n_fft": 512, "hop_length": 128, "window": "rectangular"},
    }
    parts: ClassVar[Mapping[str, str]] = {
        "encoder": "encoder",
        "paths": "activations of the dual-path layers",
        "decoder": "decoder",
    }

    def build(self, config: RunConfig) -> Separator:
        """An `SCNet`."""
        from mssctl.models.scnet.model import SCNet

        return SCNet(config)

    def foreign_presets(self) -> Sequence[ForeignPreset]:
        """Of public training scripts."""
        from mssctl.models.scnet.foreign import MSST

        return (MSST,)

    def layouts(self) -> Mapping[str, Layout]:
        """Of public checkpoints."""
        from mssctl.models.scnet.official import LAYOUTS

        return LAYOUTS
