"""The options of ``mssctl preset import``."""

from dataclasses import dataclass

from mssctl.options.base import Options, option


@dataclass(frozen=True, kw_only=True)
class ImportPresetOptions(Options):
    """How `mssctl.api.presets.import_preset` translates a file."""

    bands: bool = option(
        False,
        "--bands",
        help="Attend over bands in place of bins, where the file's model has bins: another model.",
    )
