"""From options and models to what a run makes of each song."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Reporter, silent
from mssctl.options.separate import SeparateOptions
from mssctl.separation.ensemble import ensemble, members
from mssctl.separation.excerpt import Excerpt
from mssctl.separation.formats import StemFormat
from mssctl.separation.open_model import FoundModel
from mssctl.separation.outputs import Namer
from mssctl.separation.song import SongSeparation
from mssctl.separation.stems import select
from mssctl.separation.stream import SeparationSettings


def song_separation(
    given: SeparateOptions, models: Sequence[FoundModel], folder: Path, report: Reporter = silent
) -> SongSeparation:
    """What ``given`` asks for, below a folder.

    Args:
        given: the options.
        models: as `model_names` and then `own_stems` name them.
        folder: of the outputs.
        report: receives events.

    Raises:
        MssctlError: a stem, a format, a template or an ensemble that cannot be (exit 2).
    """
    audio, name = models[0].config.audio, joined_name(models)
    selection = select(
        audio.outputs,
        only=given.stems,
        two_stems=given.two_stems,
        other_method=given.other_method,
        whole=audio.complete,
    )
    run = SongSeparation(
        Namer(folder, given.filename, name, given.format),
        selection,
        _settings(models[0], given),
        StemFormat(
            given.format, given.bit_depth, given.clip_mode, given.bitrate, given.sample_rate
        ),
        excerpt=Excerpt(given.start or 0.0, given.duration),
        peak=given.normalize,
        existing=given.existing,
        report=report,
    )
    if len(models) == 1:
        return run
    own = own_stems(given)
    shared = len(models) - len(own)
    weights = _weights(given, shared) + [0.0] * len(own)
    own_at = {stem: shared + index for index, stem in enumerate(own)}
    settings = [_settings(one, given) for one in models]
    who = members(models, settings, weights, own_at)
    return ensemble(run, who, given.ensemble or "avg_wave")


def joined_name(models: Sequence[FoundModel]) -> str:
    """The name of a model, or of several as one."""
    return "+".join(dict.fromkeys(one.name for one in models))


def model_names(given: SeparateOptions) -> list[str | None]:
    """The models that are named; None is the user's default."""
    if given.name is None or isinstance(given.name, str):
        return [given.name]
    return list(given.name)


def own_stems(given: SeparateOptions) -> dict[str, str]:
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
