"""``mssctl separate``: songs in, one file per stem out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mssctl.audio.files import probe
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter, silent
from mssctl.failures import failure
from mssctl.hub.pull import Confirm, nobody
from mssctl.options.separate import Existing, SeparateOptions
from mssctl.results.common import FileFailure
from mssctl.results.separate import SeparatedSong, SeparateResult
from mssctl.separation import outputs
from mssctl.separation.open_model import FoundModel, find_model
from mssctl.separation.prepare import joined_name, model_names, own_stems, song_separation
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
    own = own_stems(given)
    names = model_names(given)
    _check(given, len(names))
    models = [
        find_model(
            name,
            given.device,
            given.dtype,
            accept_license=given.accept_license,
            confirm=confirm,
            report=report,
        )
        for name in (*names, *own.values())
    ]
    model, name = models[0], joined_name(models)
    if names == [None] and model.name == "starter":
        report(Notice(_DEMO))
    folder = Path("separated") / name if given.out is None else Path(given.out)
    run = song_separation(given, models, folder, report)
    arguments = [songs] if isinstance(songs, str | Path) else songs
    with outputs.folder_for_outputs(folder):
        done, failures = separate_songs(run, arguments, model, fail_fast=given.fail_fast)
        if given.page:
            done, without = _with_pages(done, name, models, given.existing, report)
            failures += without
    return SeparateResult(
        name, str(model.device.device), model.dtype.name, done, failures, **_origin(models)
    )


def _with_pages(
    songs: Sequence[SeparatedSong],
    name: str,
    models: Sequence[FoundModel],
    existing: Existing,
    report: Reporter,
) -> tuple[list[SeparatedSong], list[FileFailure]]:
    """The songs with a page each, and what stood in the way of one."""
    # Pictures and mp3 are not what most runs wait for.
    from mssctl.pages.listening import write  # noqa: PLC0415
    from mssctl.pages.listening.tracks import Take  # noqa: PLC0415

    license_ = _origin(models).get("license", "")
    done, failures = [], []
    for song in songs:
        source, stems = Path(song.path), {stem: Path(path) for stem, path in song.stems.items()}
        folder = next(iter(stems.values())).parent / f"{source.stem} page"
        if existing == "skip" and (folder / "index.html").exists():
            done.append(replace(song, page=str(folder / "index.html")))
            continue
        try:
            take = Take(name, stems, license_, song.speed)
            same = song.gain == 1 and song.seconds == probe(source).seconds
            mixture = source if same else None  # another length or level would mislead
            again = existing == "overwrite"
            page = write(folder, source.stem, [take], mixture, overwrite=again, report=report)
            done.append(replace(song, page=page.path))
        except (MssctlError, OSError) as error:
            done.append(song)
            failures.append(failure(str(folder), error))
    return done, failures


def _check(given: SeparateOptions, models: int) -> None:
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
    for name in ("ensemble", "weights"):
        if getattr(given, name) is not None and models < 2:
            raise MssctlError(
                f"`{name}` does nothing with one model",
                hint="name several: -n A -n B, or name=['A', 'B']",
                exit_code=ExitCode.USAGE,
            )
    if given.weights is not None and not (given.ensemble or "avg").startswith("avg"):
        raise MssctlError(
            f"`weights` does nothing with `ensemble={given.ensemble}`", exit_code=ExitCode.USAGE
        )


def _origin(models: Sequence[FoundModel]) -> dict[str, Any]:
    """Where the weights come from, and under which license."""
    names = ("license", "license_accepted", "source", "source_sha256")
    if len(models) == 1:
        card = models[0].card
        return {name: card[name] for name in names if name in card}
    return {
        name: "; ".join(f"{one.name}: {one.card[name]}" for one in models if name in one.card)
        or None
        for name in names[1:]
    } | {"license": "; ".join(f"{m.name}: {m.card.get('license', 'not stated')}" for m in models)}
