"""The options of ``mssctl doctor``."""

from dataclasses import dataclass
from pathlib import Path

from mssctl.options.base import Options, option


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(Options):
    """What `mssctl.doctor` looks at besides the machine."""

    data: Path | str | None = option(
        None, "--data", help="Folder of training data [default: MUSDB_PATH].", metavar="PATH"
    )
    out: Path | str = option(".", "--out", "-o", help="Folder for results.", metavar="PATH")
    fix: bool = option(False, "--fix", help="Print a shell line for each remedy, and run nothing.")
    require_gpu: bool = option(False, "--require-gpu", help="Fail without a usable GPU (exit 3).")
