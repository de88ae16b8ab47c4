"""The options of ``mssctl models export`` and ``import``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mssctl.options.base import PAIR, Options, option


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Options):
    """How `mssctl.api.models.export_model` writes a copy."""

    half: bool = option(False, "--half", help="Store float16: half the size.")
    card: Sequence[str] = option(
        (), "--card", help="Set an entry of the card; repeatable.", metavar=PAIR, repeatable=True
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
