"""Scores on held-out songs, separated in full length by the same function as `mssctl separate`."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch

from mssctl.config.metrics import DEFAULT, METRICS
from mssctl.data.segments import read_song
from mssctl.data.songs import Song
from mssctl.evaluation.metrics import measure
from mssctl.evaluation.metrics.sdr import Array, is_silent
from mssctl.events import Progress, Reporter
from mssctl.hardware.compiler import uncompiled
from mssctl.models.base import Separator
from mssctl.models.run_config import RunConfig
from mssctl.separation.stream import SeparationSettings, separate_array


def validate(
    model: Separator,
    songs: Sequence[Song],
    config: RunConfig,
    *,
    report: Reporter,
    stop: Callable[[], bool] = lambda: False,
    listen: Callable[[int, dict[str, Array]], None] | None = None,
) -> dict[str, float] | None:
    """Separate songs and score the stems.

    The mixture is the sum of all of a song's stems. The model computes in ``training.amp_dtype``.
    Silent references are not scored.

    Args:
        model: weights to score; its training mode is restored afterwards.
        songs: at most ``training.validate_songs`` of them are used, spread evenly.
        config: of the run.
        report: gets a `Progress` after each song.
        stop: asked before each song; True ends the pass.
        listen: gets the number of each song and its estimated stems, ``(C, N)``.

    Returns:
        ``{"sdr": mean over stems, "sdr/vocals": mean over songs, ...}`` for `DEFAULT`
        and the metric that selects, or None when stopped. A stem that is silent in all songs has
        no entry.
    """
    chosen = spread(songs, config.training.validate_songs)
    settings = SeparationSettings.from_config(config, amp_dtype=config.training.amp_dtype)
    metrics = {*DEFAULT, config.training.validate_metric}
    scores: dict[str, list[float]] = {}
    training = model.training
    model.eval()
    try:
        for number, song in enumerate(chosen):
            if stop():
                return None
            references, estimates = _separate(model, song, settings)
            found = _score(references, estimates, model.sample_rate, metrics)
            for name, value in found.items():
                scores.setdefault(name, []).append(value)
            if listen:
                listen(number, estimates)
            report(Progress("validate", number + 1, len(chosen), "songs"))
    finally:
        model.train(training)
    return _means({name: float(np.mean(values)) for name, values in scores.items()})


def spread(songs: Sequence[Song], count: int) -> list[Song]:
    """``count`` songs evenly from the list; all of them for 0."""
    if count == 0 or count >= len(songs):
        return list(songs)
    return [songs[number * len(songs) // count] for number in range(count)]


def _separate(
    model: Separator, song: Song, settings: SeparationSettings
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Reference and estimated stems ``(C, N)``, by stem."""
    sources = read_song(song, model.sources, model.channels)  # (S, C, N)
    mix = torch.from_numpy(sources.sum(0))
    with uncompiled(model):
        estimates = separate_array(model, mix, settings).numpy()
    references = {stem: sources[model.sources.index(stem)] for stem in model.stems}
    return references, dict(zip(model.stems, estimates, strict=True))


def _score(
    references: dict[str, Array],
    estimates: dict[str, Array],
    sample_rate: int,
    metrics: Collection[str],
) -> dict[str, float]:
    """``metric/stem`` -> number of one song, without silent references."""
    sounding = {stem: true for stem, true in references.items() if not is_silent(true)}
    if not sounding:
        return {}
    return {
        f"{name}/{stem}": value
        for name, metric in METRICS.items()
        if name in metrics
        for stem, value in measure(metric, sounding, estimates, sample_rate).items()
    }


def _means(scores: dict[str, float]) -> dict[str, float]:
    """Add the mean over stems under each metric's plain name."""
    plain = {
        metric: [value for name, value in scores.items() if name.startswith(f"{metric}/")]
        for metric in METRICS
    }
    return {metric: float(np.mean(values)) for metric, values in plain.items() if values} | scores
