"""``mssctl listen``: write a page, say where it is."""

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.progress import clock
from mssctl.cli.render import count
from mssctl.cli.session import Session
from mssctl.cli.streams import escaped
from mssctl.options.listen import ListenOptions
from mssctl.results.listen import ListeningPage, ListenResult

Sources = Annotated[
    list[Path],
    typer.Argument(
        help="Folder of a song's stems, or a file with the output of separate --json. "
        "Several are compared on one page.",
        metavar="FOLDER|RESULT...",
        show_default=False,
    ),
]


@command(ListenOptions)
def listen_command(ui: Session, options: ListenOptions, *, sources: Sources) -> None:
    """Write a page to hear stems in a browser, offline, or to compare several separations."""
    from mssctl.api.listen import listen

    ui.show(listen(sources, options, report=ui.report), pages_text)


def pages_text(result: ListenResult) -> str:
    """Each page, and what is on it."""
    return "".join(_page(page) for page in result.pages)


def _page(page: ListeningPage) -> str:
    what = count(len(page.stems), "stem") + (" and the mixture" if page.mixture else "")
    if len(page.takes) > 1:
        what += f", {count(len(page.takes), 'model')}"
    size = f"mp3 at {page.kbits} kbit/s, {page.size / 1e6:.1f} MB"
    notes = "".join(f"  note: {note}\n" for note in page.notes)
    head = f"{escaped(page.title)}: {clock(page.seconds)}, {what}, {size}\n"
    return f"{head}  open {escaped(page.path)}\n{notes}"
