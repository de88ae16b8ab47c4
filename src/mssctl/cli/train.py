"""``mssctl train`` and ``mssctl resume``: train, show how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.options import Preset
from mssctl.cli.session import Session
from mssctl.options.train import ResumeOptions, TrainOptions


@command(TrainOptions, trains=True)
def train_command(ui: Session, options: TrainOptions, *, preset: Preset) -> None:
    """Train a separator from a preset.

    Ctrl-C saves a checkpoint and ends the run; `mssctl resume RUN` continues it.
    """
    from mssctl.api.train import train

    ui.show(train(preset, options, report=ui.report))


Run = Annotated[Path, typer.Argument(help="Folder of a training run.", metavar="RUN")]


@command(ResumeOptions, trains=True)
def resume_command(ui: Session, options: ResumeOptions, *, run: Run) -> None:
    """Continue a training run exactly where it stopped.

    --set changes what leaves the model and its examples as they are; --data and --valid say where
    its songs are now.
    """
    from mssctl.api.train import resume

    ui.show(resume(run, options, report=ui.report))
