"""``mssctl separate``: songs in, one file per stem out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter, silent
from mssctl.hub.pull import Confirm, nobody
from mssctl.options.separate import SeparateOptions
from mssctl.results.separate import SeparateResult
from mssctl.separation import outputs
from mssctl.separation.open_model import FoundModel, find_model
from mssctl.separation.prepare import song_separation
from mssctl.separation.song import separate_songs

_DEMO = (
    "starter is a small demo model: `mssctl models list` names better ones, "
    "`mssctl models pull NAME` fetches one"
)


def separate(
    songs: Path | str | Sequence[Path | str],
    options: SeparateOptions | None = None,
    *,
    confirm: Confirm = nobody,
    report: Reporter = silent,
    **changes: Any,
) -> SeparateResult:
    """Split songs into stems that have each song's rate, channels and length, and add up to it.

    Args:
        songs: files, folders (walked) and patterns, one or several.
        options: how; the defaults if None.
        confirm: asks about the license of a model that is fetched first, if it is not stated.
        report: receives events.
        changes: fields of `SeparateOptions`, instead of those in ``options``.

    Returns:
        What was written, and the songs that failed: those never stop the others.

    Raises:
        MssctlError: an option, the model, the device or the output folder cannot be used, or an
            output exists already; nothing has been done then.
    """
    given = SeparateOptions.given(options, changes)
    _check(given)
    where, licensed = (given.name, given.device, given.dtype), given.accept_license
    model = find_model(*where, accept_license=licensed, confirm=confirm, report=report)
    if given.name is None and model.name == "starter":
        report(Notice(_DEMO))
    folder = Path("separated") / model.name if given.out is None else Path(given.out)
    run = song_separation(given, model, folder, report)
    arguments = [songs] if isinstance(songs, str | Path) else songs
    with outputs.folder_for_outputs(folder):
        done, failures = separate_songs(run, arguments, model, fail_fast=given.fail_fast)
    return SeparateResult(
        model.name, str(model.device.device), model.dtype.name, done, failures, **_origin(model)
    )


def _check(given: SeparateOptions) -> None:
    """Refuse options that mean nothing.

    Raises:
        MssctlError: a blank name, or a seed of nothing (exit 2).
    """
    if given.out is not None and not str(given.out).strip():
        raise MssctlError("out: the folder's name is blank", exit_code=ExitCode.USAGE)
    if given.seed is not None and given.shifts == 1:
        raise MssctlError(
            "`seed` does nothing without `shifts` of 2 or more", exit_code=ExitCode.USAGE
        )


def _origin(model: FoundModel) -> dict[str, Any]:
    """Where the weights come from, and under which license."""
    names = ("license", "license_accepted", "source", "source_sha256")
    return {name: model.card[name] for name in names if name in model.card}
