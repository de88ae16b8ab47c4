"""``mssctl separate``: parse, split the songs, show what was written."""

from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.progress import clock
from mssctl.cli.render import aligned, count
from mssctl.cli.session import Session
from mssctl.cli.streams import escaped
from mssctl.options.separate import SeparateOptions
from mssctl.results.separate import SeparatedSong, SeparateResult

Songs = Annotated[
    list[str],
    typer.Argument(
        help="Files, folders (walked; hidden files and linked folders are skipped), patterns, "
        "and lists of them: @FILE, or - for standard input.",
        metavar="SONGS...",
        show_default=False,
    ),
]


@command(SeparateOptions)
def separate_command(ui: Session, options: SeparateOptions, *, songs: Songs) -> None:
    """Split SONGS into stems.

    The stems have each song's sample rate, channels and length, and add up to it.
    """
    from mssctl.api.separate import separate

    ui.show(separate(songs, options, confirm=ui.confirm, report=ui.report), songs_text)


def songs_text(result: SeparateResult) -> str:
    """The songs, each with its stems."""
    return "".join(_song(song) for song in result.songs)


def _song(song: SeparatedSong) -> str:
    channels = count(song.channels, "channel")
    audio = f"{clock(song.seconds)}, {song.sample_rate} Hz, {channels}"
    speed = f", {song.speed:.1f} x real time" if song.speed else ""  # 0: kept, not computed
    head = f"{escaped(song.path)}: {audio}{speed}"
    rows = [[f"  {stem}", escaped(path)] for stem, path in song.stems.items()]
    rows += [["  page", escaped(song.page)]] if song.page else []
    stems = aligned(["", ""], rows)
    notes = "".join(f"  note: {escaped(note)}\n" for note in song.notes)
    return f"{head}\n{stems}{notes}"
