"""The options of ``mssctl models``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mssctl.config import bounds
from mssctl.options.base import PAIR, Options, option
from mssctl.options.separate import (
    Dtype,
    device_option,
    dtype_option,
    duration_option,
    start_option,
)


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Options):
    """How `mssctl.api.models.export_model` writes a copy."""

    half: bool = option(False, "--half", help="Store float16: half the size.")
    card: Sequence[str] = option(
        (), "--card", help="Set an entry of the card; repeatable.", metavar=PAIR, repeatable=True
    )
    onnx: bool = option(False, "--onnx", help="Write an ONNX graph for other programs.")
    segment: float | None = option(
        None,
        "--segment",
        help="Seconds that the graph takes [default: the segment of training].",
        bounds=bounds.SEGMENT_SECONDS,
    )


@dataclass(frozen=True, kw_only=True)
class ImportOptions(Options):
    """How `mssctl.api.models.import_model` reads a checkpoint."""

    layout: str = option(
        "auto",
        "--layout",
        help="Layout of the keys, as in docs/models.md; auto recognizes it.",
        metavar="NAME",
    )
    config: Path | str | None = option(
        None, "--config", help="The YAML file that belongs to it.", metavar="YAML"
    )
    key: str | None = option(
        None, "--key", help="Place of the weights, where the file has several.", metavar="KEY"
    )


def accept_license_option() -> Any:
    """Whether weights without a stated license are used."""
    return option(
        False, "--accept-license", help="Use a model although no license is stated for it."
    )


@dataclass(frozen=True, kw_only=True)
class ListOptions(Options):
    """Which models `mssctl.api.models.list_models` lists."""

    license: Literal["permissive"] | None = option(
        None,
        "--license",
        help="Only models whose license asks for credit at most (MIT, BSD, CC BY ...).",
    )
    stems: Sequence[str] | None = option(
        None,
        "--stems",
        help="Only models that give these stems, separated by commas.",
        metavar="A,B",
        commas=True,
    )


@dataclass(frozen=True, kw_only=True)
class PullOptions(Options):
    """How `mssctl.api.models.pull_model` fetches a model."""

    config: Path | str | None = option(
        None, "--config", help="The YAML file that belongs to it, where its source has none."
    )
    accept_license: bool = accept_license_option()
    offline: bool = option(False, "--offline", help="Take only what is on this machine.")


@dataclass(frozen=True, kw_only=True)
class TryOptions(Options):
    """How `mssctl.api.try_models.try_models` compares models."""

    name: Sequence[str] = option(
        (),
        "--name",
        "-n",
        "--model",
        "-m",
        help="Model, as for separate; give two or more.",
        metavar="NAME",
        repeatable=True,
    )
    out: Path | str | None = option(
        None, "--out", "-o", help="Folder of stems and page [default: tried/SONG].", metavar="PATH"
    )
    start: float | None = start_option()
    duration: float | None = duration_option()
    device: str = device_option()
    dtype: Dtype = dtype_option()
    accept_license: bool = accept_license_option()
    overwrite: bool = option(False, "--overwrite", help="Replace stems and page of before.")
