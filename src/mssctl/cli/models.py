"""``mssctl models``: which models there are, and model files made from other files."""

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.progress import clock
from mssctl.cli.render import aligned, count
from mssctl.cli.session import Session
from mssctl.cli.streams import escaped
from mssctl.options.base import Options
from mssctl.options.models import (
    ExportOptions,
    ImportOptions,
    ListOptions,
    PullOptions,
    TryOptions,
)
from mssctl.results.models import (
    DefaultModel,
    ModelEntry,
    ModelList,
    OnnxModel,
    StemLikeness,
    TryResult,
)

Name = Annotated[
    str, typer.Argument(help="A name from `models list`, or a .safetensors file.", metavar="NAME")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The file to write.", metavar="FILE")]
Pulled = Annotated[
    str,
    typer.Argument(
        help="A name from `models list`, or hf:org/repo[@revision][/file].", metavar="NAME"
    ),
]
Song = Annotated[Path, typer.Argument(help="An audio file.", metavar="SONG")]
File = Annotated[
    Path, typer.Argument(help="A checkpoint of an official implementation.", metavar="FILE")
]


@command(ListOptions)
def list_command(ui: Session, options: ListOptions) -> None:
    """List the models that are here, and those that can be pulled."""
    from mssctl.api.models import list_models

    ui.show(list_models(options), list_text)


@command(PullOptions)
def pull_command(ui: Session, options: PullOptions, *, name: Pulled) -> None:
    """Fetch a public model, check it, and make it usable by its name."""
    from mssctl.api.models import pull_model

    ui.show(pull_model(name, options, confirm=ui.confirm, report=ui.report), model_text)


@command(TryOptions)
def try_command(ui: Session, options: TryOptions, *, song: Song) -> None:
    """Separate SONG with several models, and write a page to compare them by ear.

    A table shows speed, memory and how much the stems differ; on the page the names can be hidden.
    """
    from mssctl.api.try_models import try_models

    ui.show(try_models(song, options, confirm=ui.confirm, report=ui.report), tried_text)


@command(Options)
def use_command(ui: Session, _options: Options, *, name: Name) -> None:
    """Choose the model that `mssctl separate` takes where none is named."""
    from mssctl.api.models import use_model

    ui.show(use_model(name), default_text)


@command(Options)
def info_command(ui: Session, _options: Options, *, name: Name) -> None:
    """Show what is known about one model."""
    from mssctl.api.models import model_info

    ui.show(model_info(name), model_text)


@command(ExportOptions)
def export_command(ui: Session, options: ExportOptions, *, name: Name, out: Out) -> None:
    """Write a copy of a model to pass on, with its license and other entries of its card."""
    from mssctl.api.models import export_model

    ui.show(export_model(name, out, options), export_text)


@command(ImportOptions)
def import_command(ui: Session, options: ImportOptions, *, file: File, out: Out) -> None:
    """Turn weights of an official implementation into a model file."""
    from mssctl.api.models import import_model

    ui.show(import_model(file, out, options, report=ui.report), model_text)


def list_text(result: ModelList) -> str:
    """One line per model; the default one is marked."""
    rows = [
        [
            f"{entry.name} *" if entry.name == result.default else entry.name,
            entry.state + ("" if entry.verified else ", unverified"),
            ", ".join(entry.stems) or "unknown",
            _size(entry),
            entry.license.partition(" (")[0],
            entry.quality or "",
        ]
        for entry in result.models
    ]
    if not rows:
        return "no models\n"
    head = ["name", "state", "stems", "size", "license", "quality as published"]
    return aligned(head, rows) + (
        f"* the default: {result.default}. `mssctl models pull NAME` fetches one.\n"
    )


def default_text(result: DefaultModel) -> str:
    """The model that is taken from now on."""
    return f"{result.name} is the default now (license: {result.license})\n"


def export_text(result: ModelEntry | OnnxModel) -> str:
    """What was written."""
    if isinstance(result, ModelEntry):
        return model_text(result)
    transform = f"n_fft {result.n_fft}, hop {result.hop_length}, {result.window} window"
    rows = [
        ["architecture", result.architecture],
        ["stems", ", ".join(result.stems)],
        ["audio", f"{result.sample_rate} Hz, {count(result.channels, 'channel')}"],
        ["transform", transform],
        ["segment", f"{result.frames} frames, {result.seconds:.2f} s"],
        ["license", result.license],
        ["file", result.path],
        ["sha256", result.sha256],
        ["checked", f"onnxruntime differs from PyTorch by {result.error:.1e} (relative L2)"],
    ]
    return aligned(["", ""], rows)


def model_text(result: ModelEntry) -> str:
    """What is known about a model."""
    audio = None
    if result.sample_rate and result.channels:
        audio = f"{result.sample_rate} Hz, {count(result.channels, 'channel')}"
    rows: list[list[str | None]] = [
        ["name", result.name],
        ["state", result.state],
        ["architecture", result.architecture],
        ["stems", ", ".join(result.stems)],
        ["audio", audio],
        ["size", _size(result)],
        ["quality", result.quality],
        ["license", result.license],
        ["source", result.source or result.card.get("source")],
        ["verified", None if result.verified else "no: not all hashes are known in full"],
        ["file", result.path],
        ["sha256", result.sha256],
    ]
    rows += [[key, text] for key, text in result.card.items() if key not in ("license", "source")]
    return aligned(["", ""], [[str(name), value] for name, value in rows if value])


def tried_text(result: TryResult) -> str:
    """A line for each model, then how alike their stems are, then the page."""
    if not result.models:
        return ""
    memory = "GPU memory" if result.models[0].device.startswith("cuda") else "memory"
    rows = [
        [
            one.name,
            f"{one.speed:.1f}",
            f"{one.memory_gib:.2f} GiB",
            ", ".join(one.stems),
            one.license.partition(" (")[0],
        ]
        for one in result.models
    ]
    head = ["model", "x real time", f"peak {memory}", "stems", "license"]
    text = f"{escaped(result.song)}: {clock(result.seconds)}\n" + aligned(head, rows)
    if result.likeness:
        text += "\nSI-SDR of one model's stem against the other's, dB: lower is more different\n"
        text += _likeness(result.likeness)
    return text + (f"\nopen {escaped(result.page)}\n" if result.page else "")


def _likeness(found: list[StemLikeness]) -> str:
    """A row for each two models, a column for each stem."""
    stems = list(dict.fromkeys(one.stem for one in found))
    pairs: dict[str, dict[str, str]] = {}
    for one in found:
        value = "silent" if one.si_sdr is None else f"{one.si_sdr:.1f}"
        pairs.setdefault(f"{one.one} / {one.other}", {})[one.stem] = value
    rows = [[pair, *(values.get(stem, "") for stem in stems)] for pair, values in pairs.items()]
    return aligned(["models", *stems], rows, numbers=True)


def _size(entry: ModelEntry) -> str:
    if entry.parameters is not None:
        return f"{entry.parameters / 1e6:.2f} M"
    return f"{entry.size / 1e6:.0f} MB" if entry.size else ""
