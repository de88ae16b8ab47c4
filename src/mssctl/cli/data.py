"""``mssctl data``: training material."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.session import Session
from mssctl.options.data import CheckOptions, SynthOptions

Folders = Annotated[
    list[Path], typer.Argument(help="Data folders or CSV files.", metavar="FOLDER...")
]
Out = Annotated[Path, typer.Argument(help="Folder to write the songs to.", metavar="OUT")]


@command(CheckOptions)
def check_command(ui: Session, options: CheckOptions, *, folders: Folders) -> None:
    """Read training data to the end and say what is wrong with it.

    Exit code 1 for what training refuses or must not get: unreadable files, other sample rates,
    the same audio in two splits. Anything else found is shown, with exit code 0.
    """
    from mssctl.api.data import check

    ui.show(check(folders, options, report=ui.report))


@command(SynthOptions)
def synth_command(ui: Session, options: SynthOptions, *, out: Out) -> None:
    """Make multitrack songs: vocals, drums, bass, other and their sum."""
    from mssctl.api.data import synth

    ui.show(synth(out, options, report=ui.report))
