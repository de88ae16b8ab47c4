"""The options of ``mssctl listen``."""

from dataclasses import dataclass
from pathlib import Path

from mssctl.options.base import Options, option


@dataclass(frozen=True, kw_only=True)
class ListenOptions(Options):
    """Where `mssctl.listen` writes a page."""

    out: Path | str | None = option(
        None,
        "--out",
        "-o",
        help="Folder of the page [default: listen, beside the stems].",
        metavar="PATH",
    )
    title: str | None = option(None, "--title", help="Title [default: the song's name].")
    mixture: Path | str | None = option(
        None,
        "--mixture",
        help="The song itself [default: the file in the result, or mixture.* beside the stems].",
        metavar="FILE",
    )
    overwrite: bool = option(False, "--overwrite", help="Replace a page that exists already.")
