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
from mssctl.separation.excerpt import Excerpt
from mssctl.separation.formats import StemFormat
from mssctl.separation.open_model import FoundModel, find_model
from mssctl.separation.outputs import Namer
from mssctl.separation.song import SongSeparation, separate_songs
from mssctl.separation.stems import select
from mssctl.separation.stream import SeparationSettings

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
    files = StemFormat(
        given.format, given.bit_depth, given.clip_mode, given.bitrate, given.sample_rate
    )
    _check(given)
    where, licensed = (given.name, given.device, given.dtype), given.accept_license
    model = find_model(*where, accept_license=licensed, confirm=confirm, report=report)
    if given.name is None and model.name == "starter":
        report(Notice(_DEMO))
    selection = select(
        model.config.audio.outputs,
        only=given.stems,
        two_stems=given.two_stems,
        other_method=given.other_method,
        whole=model.config.audio.complete,
    )
    folder = Path("separated") / model.name if given.out is None else Path(given.out)
    settings = SeparationSettings.from_config(
        model.config,
        segment_seconds=given.segment,
        overlap=given.overlap,
        batch_size=given.batch,
        amp_dtype=model.dtype.amp_dtype,
        mix_consistent=False,  # done at the song's own rate, see SongSeparation.outputs
        shifts=given.shifts,
        seed=given.seed or 0,
    )
    namer = Namer(folder, given.filename, model.name, given.format)
    run = SongSeparation(
        namer,
        selection,
        settings,
        files,
        excerpt=Excerpt(given.start or 0.0, given.duration),
        peak=given.normalize,
        existing=given.existing,
        report=report,
    )
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
