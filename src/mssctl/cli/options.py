"""Options that several commands share: one meaning for a flag, wherever it appears."""

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Preset = Annotated[
    str, typer.Argument(help="Name of a preset, or path of a .yaml file.", metavar="PRESET")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors on stderr.")]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, show_default=False, help="Say more; may be repeated."
    ),
]
ShowProgress = Annotated[
    bool,
    typer.Option("--progress/--no-progress", show_default=False, help="Progress on stderr."),
]


@dataclass(frozen=True)
class Display:
    """How much a command says on stderr."""

    quiet: bool = False
    verbose: int = 0
    progress: bool = True


DISPLAY = ContextVar("DISPLAY", default=Display())  # noqa: B039 (frozen)


def with_display(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that every command has; its `session` reads them."""

    def displayed(
        *, quiet: Quiet = False, verbose: Verbose = 0, progress: ShowProgress = True, **rest: Any
    ) -> None:
        DISPLAY.set(Display(quiet, verbose, progress))
        command(**rest)

    own = inspect.signature(command, eval_str=True)
    shared = inspect.signature(displayed, eval_str=True).parameters.values()
    displayed.__doc__ = command.__doc__
    displayed.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*own.parameters.values(), *(p for p in shared if p.name != "rest")]
    )
    return displayed
