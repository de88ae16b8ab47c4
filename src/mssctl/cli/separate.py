"""``mssctl separate``: parse, split the songs, show what was written."""

from __future__ import annotations

from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.session import Session
from mssctl.options.separate import SeparateOptions

Songs = Annotated[
    list[str],
    typer.Argument(
        help="Files, folders (walked; hidden files and linked folders are skipped) and patterns.",
        metavar="SONGS...",
        show_default=False,
    ),
]


@command(SeparateOptions)
def separate_command(ui: Session, options: SeparateOptions, *, songs: Songs) -> None:
    """Split SONGS into stems.

    The stems have each song's sample rate, channels and length, and add up to it.
    """
    from mssctl.api.separate import separate

    ui.show(separate(songs, options, report=ui.report))
