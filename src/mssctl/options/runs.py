"""The options of ``mssctl runs show``."""

from dataclasses import dataclass

from mssctl.options.base import Options, option


@dataclass(frozen=True, kw_only=True)
class RunsShowOptions(Options):
    """How a run is shown."""

    follow: bool = option(False, "--follow", "-f", help="Draw again until the run ends.")
