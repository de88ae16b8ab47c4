"""``mssctl train`` and ``mssctl resume``: train, show how it ended."""

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.options import Preset
from mssctl.cli.progress import clock
from mssctl.cli.render import aligned, count
from mssctl.cli.session import Session
from mssctl.config.metrics import metric_of
from mssctl.options.train import ResumeOptions, TrainOptions
from mssctl.results.train import DryRunResult, TrainResult


@command(TrainOptions, trains=True)
def train_command(ui: Session, options: TrainOptions, *, preset: Preset) -> None:
    """Train a separator from a preset.

    Ctrl-C saves a checkpoint and ends the run; `mssctl resume RUN` continues it.
    """
    from mssctl.api.train import train

    ui.show(train(preset, options, report=ui.report), train_text)


Run = Annotated[Path, typer.Argument(help="Folder of a training run.", metavar="RUN")]


@command(ResumeOptions, trains=True)
def resume_command(ui: Session, options: ResumeOptions, *, run: Run) -> None:
    """Continue a training run exactly where it stopped.

    --set changes what leaves the model and its examples as they are; --data and --valid say where
    its songs are now.
    """
    from mssctl.api.train import resume

    ui.show(resume(run, options, report=ui.report), run_text)


def train_text(result: TrainResult | DryRunResult) -> str:
    """How a run or a dry run ended."""
    return dry_run_text(result) if isinstance(result, DryRunResult) else run_text(result)


def run_text(result: TrainResult) -> str:
    """How a run ended."""
    unit = metric_of(result.best_metric).unit
    score = "none yet" if result.best_score is None else f"{result.best_score:.2f} {unit}".rstrip()
    rows = [
        ["run", result.run],
        ["state", "finished" if result.finished else f"interrupted: mssctl resume {result.run}"],
        ["steps", f"{result.step} ({count(result.epoch, 'epoch')}) in {clock(result.seconds)}"],
        [f"best {result.best_metric}", score],
        ["checkpoint", result.checkpoint],
        ["model", result.model or "none yet: nothing has been validated"],
    ]
    return aligned(["", ""], rows)


def dry_run_text(result: DryRunResult) -> str:
    """What a dry run found."""
    songs = f"{result.training_songs} to train on, {result.validation_songs} held out"
    peak = "not measured on this device"
    if result.peak_gib is not None:
        peak = f"{result.peak_gib:.2f} GiB allocated"
    if result.predicted_gib is not None:
        peak += f", {result.predicted_gib:.2f} predicted"
    rows = [
        ["dry run", f"nothing was written; the run would go to {result.run}"],
        ["songs", songs],
        ["steps", f"{result.steps} of {result.effective_batch} examples"],
        ["first step", f"loss {result.loss:.4f} in {result.seconds:.2f} s"],
        ["peak memory", peak],
    ]
    return aligned(["", ""], rows)
