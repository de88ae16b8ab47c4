"""Options that several commands share: one meaning for a flag, wherever it appears."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mssctl.config import bounds
from mssctl.options.base import PAIR

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Device = Annotated[
    str, typer.Option("--device", "-d", help="auto, cuda, cuda:N, mps or cpu.", metavar="DEVICE")
]
Name = Annotated[
    str,
    typer.Option(
        "--name", "-n", "--model", "-m", help="Model: a name or a .safetensors file.",
        metavar="NAME",
    ),
]  # fmt: skip
Dtype = Annotated[
    Literal["auto", "bf16", "fp16", "fp32"],
    typer.Option(
        "--dtype",
        help="Inside the model; auto is bf16 on CUDA (fp16 on GPUs without it), else fp32.",
    ),
]
Segment = Annotated[
    float | None,
    typer.Option(
        "--segment",
        help="Seconds the model sees at once [default: the model's].",
        min=bounds.SEGMENT_SECONDS[0],
        max=bounds.SEGMENT_SECONDS[1],
    ),
]
Overlap = Annotated[
    float | None,
    typer.Option(
        "--overlap",
        help="Fraction of a segment shared with the next.",
        min=bounds.OVERLAP[0],
        max=bounds.OVERLAP[1],
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        help="Segments computed at once.",
        min=bounds.BATCH[0],
        max=bounds.BATCH[1],
        metavar="N",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override one preset key; may be repeated.", metavar=PAIR),
]
Preset = Annotated[
    str, typer.Argument(help="Name of a preset, or path of a .yaml file.", metavar="PRESET")
]
Run = Annotated[Path, typer.Argument(help="Folder of a training run.", metavar="RUN")]
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
