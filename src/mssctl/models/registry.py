"""The architectures by name; nothing is imported until it is used."""

from __future__ import annotations

from importlib import import_module

from mssctl.config.schema import RunConfig
from mssctl.models.base import Separator

ARCHITECTURES = {
    "tf_locoformer": "mssctl.models.tf_locoformer:TFLocoformer",
    "bsmamba2": "mssctl.models.bsmamba2:BSMamba2",
}


def build(config: RunConfig) -> Separator:
    """A separator with fresh weights, drawn from torch's global random generator."""
    module, name = ARCHITECTURES[config.model.name].split(":")
    separator: Separator = getattr(import_module(module), name)(config)
    return separator


def parameter_count(separator: Separator) -> int:
    """Number of parameters, the frozen rotary frequencies among them."""
    return sum(parameter.numel() for parameter in separator.parameters())
