"""``mssctl preset``: presets from the files of other programs."""

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.render import aligned, count
from mssctl.cli.session import Session
from mssctl.options.presets import ImportPresetOptions
from mssctl.results.presets import ImportedPreset

File = Annotated[
    Path, typer.Argument(help="The YAML file of another training program.", metavar="FILE")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The preset to write.", metavar="YAML")]


@command(ImportPresetOptions)
def import_command(ui: Session, options: ImportPresetOptions, *, file: File, out: Out) -> None:
    """Turn the configuration of another training program into a preset.

    Shows what became of every key of the file.
    """
    from mssctl.api.presets import import_preset

    ui.show(import_preset(file, out, options), import_text)


def import_text(result: ImportedPreset) -> str:
    """Every key of the file."""
    carried = [[key, new] for key, new in result.carried.items()]
    left_out = [[key, reason] for key, reason in result.left_out.items()]
    parts = [
        f"{result.path}: {result.architecture}",
        aligned([f"{count(len(carried), 'key')} carried over", "as"], carried).rstrip("\n"),
    ]
    if left_out:
        title = f"{count(len(left_out), 'key')} left out"
        parts.append(aligned([title, "why"], left_out).rstrip("\n"))
    return "\n\n".join(parts) + "\n"
