"""The ``mssctl`` program: its commands and its entry point.

The command modules are imported here, so they import torch and the like inside their bodies only.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer

import mssctl
from mssctl.cli import bench, data, doctor, eval, models, plan, separate, train  # noqa: A004
from mssctl.cli.arguments import StrictCommand
from mssctl.cli.options import with_display
from mssctl.cli.session import run

app = typer.Typer(
    name="mssctl",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_data = typer.Typer(rich_markup_mode=None, help="Check training data, and make some.")
_eval = typer.Typer(
    rich_markup_mode=None,
    cls=eval.ScoreByDefault,
    help="Score estimates against references, and compare results. The word score can be left "
    "out: `mssctl eval -n MODEL -r DIR`; options: `mssctl eval score --help`.",
)
_models = typer.Typer(rich_markup_mode=None, help="See which models there are, and pass one on.")

_COMMANDS: dict[str, Callable[..., None]] = {
    "separate": separate.separate_command,
    "train": train.train_command,
    "resume": train.resume_command,
    "plan": plan.plan_command,
    "bench": bench.bench_command,
    "doctor": doctor.doctor_command,
}
for _name, _command in _COMMANDS.items():
    app.command(_name, cls=StrictCommand)(with_display(_command))
_data.command("check", cls=StrictCommand)(with_display(data.check_command))
_data.command("synth", cls=StrictCommand)(with_display(data.synth_command))
_eval.command("score", cls=StrictCommand)(with_display(eval.score_command))
_eval.command("compare", cls=StrictCommand)(with_display(eval.compare_command))
_models.command("list", cls=StrictCommand)(with_display(models.list_command))
_models.command("info", cls=StrictCommand)(with_display(models.info_command))
_models.command("import", cls=StrictCommand)(with_display(models.import_command))
_models.command("export", cls=StrictCommand)(with_display(models.export_command))
app.add_typer(_eval, name="eval")
app.add_typer(_data, name="data")
app.add_typer(_models, name="models")


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


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line and exit with its code."""
    sys.exit(run(app, sys.argv[1:] if arguments is None else arguments))
