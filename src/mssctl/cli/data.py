"""``mssctl data``: training material."""

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.progress import clock
from mssctl.cli.render import aligned, count
from mssctl.cli.session import Session
from mssctl.options.data import CheckOptions, SynthOptions
from mssctl.results.data import DataCheckResult, SynthResult

Folders = Annotated[
    list[Path], typer.Argument(help="Data folders or CSV files.", metavar="FOLDER...")
]
Out = Annotated[Path, typer.Argument(help="Folder to write the songs to.", metavar="OUT")]


@command(CheckOptions)
def check_command(ui: Session, options: CheckOptions, *, folders: Folders) -> None:
    """Read training data to the end and say what is wrong with it.

    Exit code 1 for what training refuses or must not get: unreadable files, other sample rates,
    the same audio in two splits. Anything else found is shown, with exit code 0.
    """
    from mssctl.api.data import check

    ui.show(check(folders, options, report=ui.report), check_text)


@command(SynthOptions)
def synth_command(ui: Session, options: SynthOptions, *, out: Out) -> None:
    """Make multitrack songs: vocals, drums, bass, other and their sum."""
    from mssctl.api.data import synth

    ui.show(synth(out, options, report=ui.report), synth_text)


def synth_text(result: SynthResult) -> str:
    """What was generated."""
    rows = [
        ["folder", result.out],
        *([split, count(songs, "song")] for split, songs in result.splits.items()),
        ["audio", clock(result.seconds)],
        ["samples", result.samples or "none: oscillators and noise"],
        ["seed", str(result.seed)],
    ]
    return aligned(["", ""], rows)


_SHOWN = 10  # findings of a kind; --json has all  # findings of a kind; --json has all


def check_text(result: DataCheckResult) -> str:
    """The contents of a data set, and what is wrong with it."""
    lines = []
    for root in result.roots:
        stems = list(dict.fromkeys(stem for hours in root.hours.values() for stem in hours))
        rows = [
            [split, str(songs), *(clock(3600 * root.hours[split].get(stem, 0.0)) for stem in stems)]
            for split, songs in root.songs.items()
        ]
        lines.append(f"{root.path}: layout {root.layout}; length of each stem")
        lines.append(aligned(["split", "songs", *stems], rows, numbers=True).rstrip("\n"))
    for kind in dict.fromkeys(finding.kind for finding in result.findings):
        found = [finding for finding in result.findings if finding.kind == kind]
        lines.append(f"{kind}: {count(len(found), 'finding')}")
        lines += [f"  {item.split}/{item.song}: {item.message}" for item in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"  and {len(found) - _SHOWN} more: --json lists them all")
    lines += result.skipped
    if not result.findings and not result.failures:
        lines.append(f"{count(result.songs, 'song')}: nothing wrong")
    return "".join(f"{line}\n" for line in lines)
