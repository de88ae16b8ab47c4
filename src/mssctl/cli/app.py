"""The ``mssctl`` program: its commands and its entry point. Imports no torch."""

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

import mssctl
from mssctl.cli.groups import Data, Eval, Job, Main, Models, Preset, Runs
from mssctl.cli.session import run

app = typer.Typer(
    name="mssctl",
    cls=Main,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(mssctl.__version__)
        raise typer.Exit


@app.callback()
def mssctl_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Train, run and measure music source separation models."""


_EVAL = (
    "Score estimates against references, and compare results. The word score can be left out: "
    "`mssctl eval -n MODEL -r DIR`; options: `mssctl eval score --help`."
)
_DATA = "Check training data, and make some."
_MODELS = "See which models there are, fetch one, and pass one on."
_JOB = "Separate a catalogue: a job as data, worked through by any number of processes."
_RUNS = (
    "See how training runs are doing. The word list can be left out: `mssctl runs`; options: "
    "`mssctl runs list --help`."
)
_PRESET = "Presets from the configurations of other training programs."
for _name, _group, _help in (
    ("eval", Eval, _EVAL),
    ("runs", Runs, _RUNS),
    ("data", Data, _DATA),
    ("job", Job, _JOB),
    ("models", Models, _MODELS),
    ("preset", Preset, _PRESET),
):
    app.add_typer(typer.Typer(rich_markup_mode=None, cls=_group, help=_help), name=_name)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line and exit with its code."""
    sys.exit(run(app, sys.argv[1:] if arguments is None else arguments))
