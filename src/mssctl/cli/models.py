"""``mssctl models``: which models there are, and model files made from other files."""

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.render import aligned, count
from mssctl.cli.session import Session
from mssctl.options.base import Options
from mssctl.options.models import ExportOptions, ImportOptions
from mssctl.results.models import ModelEntry, ModelList

Name = Annotated[
    str, typer.Argument(help="A name from `models list`, or a .safetensors file.", metavar="NAME")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The file to write.", metavar="FILE")]
File = Annotated[
    Path, typer.Argument(help="A checkpoint of an official implementation.", metavar="FILE")
]


@command(Options)
def list_command(ui: Session, _options: Options) -> None:
    """List the models that come with mssctl."""
    from mssctl.api.models import list_models

    ui.show(list_models(), list_text)


@command(Options)
def info_command(ui: Session, _options: Options, *, name: Name) -> None:
    """Show what is known about one model."""
    from mssctl.api.models import model_info

    ui.show(model_info(name), model_text)


@command(ExportOptions)
def export_command(ui: Session, options: ExportOptions, *, name: Name, out: Out) -> None:
    """Write a copy of a model to pass on, with its license and other entries of its card."""
    from mssctl.api.models import export_model

    ui.show(export_model(name, out, options), model_text)


@command(ImportOptions)
def import_command(ui: Session, options: ImportOptions, *, file: File, out: Out) -> None:
    """Turn weights of an official implementation into a model file."""
    from mssctl.api.models import import_model

    ui.show(import_model(file, out, options, report=ui.report), model_text)


def list_text(result: ModelList) -> str:
    """One line per model."""
    rows = [
        [entry.name, entry.architecture, ", ".join(entry.stems), _size(entry), entry.license]
        for entry in result.models
    ]
    if not rows:
        return "no models\n"
    return aligned(["name", "architecture", "stems", "parameters", "license"], rows)


def model_text(result: ModelEntry) -> str:
    """What is known about a model."""
    rows = [
        ["name", result.name],
        ["architecture", result.architecture],
        ["stems", ", ".join(result.stems)],
        ["audio", f"{result.sample_rate} Hz, {count(result.channels, 'channel')}"],
        ["parameters", _size(result)],
        ["license", result.license],
        ["file", result.path],
        ["sha256", result.sha256],
    ]
    return aligned(["", ""], rows)


def _size(entry: ModelEntry) -> str:
    return f"{entry.parameters / 1e6:.2f} M"
