"""``mssctl separate``: songs in, one file per stem out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter, silent
from mssctl.hub.pull import Confirm, nobody
from mssctl.options.separate import SeparateOptions
from mssctl.results.separate import SeparateResult
from mssctl.separation import outputs
from mssctl.separation.ensemble import ensemble, members
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
    own = _own_stems(given)
    names = _names(given)
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
    model = models[0]
    if names == [None] and model.name == "starter":
        report(Notice(_DEMO))
    audio = model.config.audio
    selection = select(
        audio.outputs,
        only=given.stems,
        two_stems=given.two_stems,
        other_method=given.other_method,
        whole=audio.complete,
    )
    name = "+".join(dict.fromkeys(one.name for one in models))
    folder = Path("separated") / name if given.out is None else Path(given.out)
    run = SongSeparation(
        Namer(folder, given.filename, name, given.format),
        selection,
        _settings(model, given),
        files,
        excerpt=Excerpt(given.start or 0.0, given.duration),
        peak=given.normalize,
        existing=given.existing,
        report=report,
    )
    if len(models) > 1:
        weights = _weights(given, len(names)) + [0.0] * len(own)
        own_at = {stem: len(names) + index for index, stem in enumerate(own)}
        settings = [_settings(one, given) for one in models]
        run = ensemble(
            run, members(models, settings, weights, own_at), given.ensemble or "avg_wave"
        )
    arguments = [songs] if isinstance(songs, str | Path) else songs
    with outputs.folder_for_outputs(folder):
        done, failures = separate_songs(run, arguments, model, fail_fast=given.fail_fast)
    return SeparateResult(
        name, str(model.device.device), model.dtype.name, done, failures, **_origin(models)
    )


def _names(given: SeparateOptions) -> list[str | None]:
    """The models that are named; None is the user's default."""
    if given.name is None or isinstance(given.name, str):
        return [given.name]
    return list(given.name)


def _own_stems(given: SeparateOptions) -> dict[str, str]:
    """Stem -> the model that gives it alone.

    Raises:
        MssctlError: not ``STEM=MODEL``, or a stem twice (exit 2).
    """
    own: dict[str, str] = {}
    for item in given.stem_model or ():
        stem, _, name = item.partition("=")
        if not stem or not name or stem in own:
            raise MssctlError(
                f"`stem_model` {item!r}: expected STEM=MODEL, each stem once",
                exit_code=ExitCode.USAGE,
            )
        own[stem] = name
    return own


def _weights(given: SeparateOptions, count: int) -> list[float]:
    """The shares of the models that are combined.

    Raises:
        MssctlError: not one positive number for each (exit 2).
    """
    if given.weights is None:
        return [1.0] * count
    try:
        weights = [float(weight) for weight in given.weights]
    except ValueError:
        weights = []
    if len(weights) != count or not all(0 < weight < float("inf") for weight in weights):
        raise MssctlError(
            f"`weights`: expected {count} positive numbers, one for each model",
            exit_code=ExitCode.USAGE,
        )
    return weights


def _settings(model: FoundModel, given: SeparateOptions) -> SeparationSettings:
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
    return replace(settings, tta=given.tta)


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
