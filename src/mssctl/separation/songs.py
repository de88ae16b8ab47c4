"""Many songs, one after the other: one that fails does not stop the others."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path

from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice
from mssctl.failures import failure
from mssctl.results.common import FileFailure
from mssctl.results.separate import SeparatedSong
from mssctl.separation import outputs
from mssctl.separation.inputs import Song, find_songs
from mssctl.separation.open_model import FoundModel
from mssctl.separation.song import SongSeparation


def separate_songs(
    run: SongSeparation, arguments: Sequence[Path | str], model: FoundModel, *, fail_fast: bool
) -> tuple[list[SeparatedSong], list[FileFailure]]:
    """Do the cheap checks of all songs, then load the model, then separate.

    Raises:
        MssctlError: an output exists already, or two songs would share one (exit 2), before any
            work; or the model cannot be loaded.
    """
    usable, failures = _usable(run, arguments)
    if failures and fail_fast:
        return [], failures
    separator = None
    if not all(usable.values()):
        separator = model.load(run.report).separator
        for part, backend in separator.backends().items():
            run.report(Notice(f"{part}: {backend}"))
    done: list[SeparatedSong] = []
    for song, is_there in usable.items():
        try:
            if separator is None or is_there:
                done.append(run.kept(song))
            else:
                done.append(run.separate(song, separator))
        except Exception as error:  # noqa: BLE001 (the other songs are still separated)
            failures.append(failure(str(song.path), error))
            if not isinstance(error, MssctlError | OSError | MemoryError):
                run.report(Notice(traceback.format_exc(), level="warning"))
            if fail_fast:
                break
            if len(usable) > 1:
                run.report(Notice(f"{song.path} failed, continuing", level="warning"))
    return done, failures


def _usable(
    run: SongSeparation, arguments: Sequence[Path | str]
) -> tuple[dict[Song, bool], list[FileFailure]]:
    """The songs that can be separated, whether their outputs exist already, and the failures."""
    found, problems = find_songs(arguments, run.namer.out)
    failures = [failure(path, error) for path, error in problems]
    readable = []
    for song in found:
        try:
            run.check(song)
            readable.append(song)
        except (MssctlError, OSError) as error:
            failures.append(failure(str(song.path), error))
    outputs.check_distinct(run.namer, readable, run.selection.names)
    usable = {}
    for song in readable:
        try:
            usable[song] = run.is_there(song)
        except (MssctlError, OSError) as error:
            problem = failure(str(song.path), error)
            if run.existing == "error" and problem.exit_code == ExitCode.USAGE:
                raise  # before any work
            failures.append(problem)
    return usable, failures
