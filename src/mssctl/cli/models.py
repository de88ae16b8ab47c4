"""``mssctl models``: which models there are, and model files made from other files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mssctl.cli.options import Json
from mssctl.cli.session import session
from mssctl.options.base import PAIR

Name = Annotated[
    str, typer.Argument(help="A name from `models list`, or a .safetensors file.", metavar="NAME")
]

Out = Annotated[Path, typer.Option("--out", "-o", help="The file to write.", metavar="FILE")]
Half = Annotated[bool, typer.Option("--half", help="Store float16: half the size.")]
Card = Annotated[
    list[str] | None,
    typer.Option("--card", help="Set an entry of the card; repeatable.", metavar=PAIR),
]

File = Annotated[
    Path, typer.Argument(help="A checkpoint of an official implementation.", metavar="FILE")
]
Layout = Annotated[
    Literal["auto", "bsmamba2", "bs_locoformer", "tf_locoformer"],
    typer.Option("--layout", help="Whose keys; auto tells it by the keys."),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="The YAML file that belongs to it.", metavar="YAML"),
]
Key = Annotated[
    str | None,
    typer.Option("--key", help="Place of the weights, where the file has several.", metavar="KEY"),
]


def list_command(json: Json = False) -> None:
    """List the models that come with mssctl."""
    with session(json=json) as ui:
        from mssctl.api.models import list_models

        ui.show(list_models())


def info_command(name: Name, json: Json = False) -> None:
    """Show what is known about one model."""
    with session(json=json) as ui:
        from mssctl.api.models import model_info

        ui.show(model_info(name))


def export_command(
    name: Name, out: Out, half: Half = False, card: Card = None, json: Json = False
) -> None:
    """Write a copy of a model to pass on, with its license and the like set."""
    with session(json=json) as ui:
        from mssctl.api.models import export_model

        ui.show(export_model(name, out, half=half, card=card or ()))


def import_command(
    file: File,
    out: Out,
    layout: Layout = "auto",
    config: Config = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Turn weights of an official implementation into a model file."""
    with session(json=json) as ui:
        from mssctl.api.models import import_model

        ui.show(import_model(file, out, layout=layout, config=config, key=key, report=ui.report))
