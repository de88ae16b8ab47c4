"""``mssctl eval``: score estimates against references, and compare the results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import mssctl.cli.render_eval  # noqa: F401 (registers what the results look like)
from mssctl.cli.command import command
from mssctl.cli.options import Json
from mssctl.cli.session import Session, session
from mssctl.options.evaluate import EvaluateOptions

DEFAULT = "score"


class ScoreByDefault(TyperGroup):
    """``mssctl eval DIR …`` is ``mssctl eval score DIR …``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name where it was left out."""
        if not args or args[0] not in {*self.commands, "-h", "--help"}:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


@command(EvaluateOptions)
def score_command(ui: Session, options: EvaluateOptions) -> None:
    """Score estimates, a model or an oracle; the word score can be left out.

    Each stem gets its SDR, SI-SDR and cSDR, beside those of the unprocessed mixture.
    """
    from mssctl.api.evaluate import evaluate

    ui.show(evaluate(options, report=ui.report))


Results = Annotated[
    list[Path],
    typer.Argument(help="summary.json files of mssctl eval, or their folders.", metavar="A B..."),
]


def compare_command(results: Results, json: Json = False) -> None:
    """Differences of two or more results, track by track, each against the first."""
    with session(json=json) as ui:
        from mssctl.evaluation.compare import compare

        ui.show(compare(results))
