"""From the audio of a track to its scores, and to the document that holds them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mssctl.config.metrics import DEFAULT, METRICS
from mssctl.errors import MssctlError
from mssctl.evaluation.bsseval import TAPS
from mssctl.evaluation.bsseval.frames import score_frames
from mssctl.evaluation.documents import Document, packed
from mssctl.evaluation.estimates import Found, content_hashes
from mssctl.evaluation.metrics import measure
from mssctl.evaluation.metrics.sdr import Array, is_silent
from mssctl.evaluation.references import ReferenceAudio, sums
from mssctl.options.evaluate import Engine
from mssctl.results.evaluate import Score, StemScore


@dataclass(frozen=True)
class Scoring:
    """What is measured: metrics by name, BSSEval or not, its frames in seconds, and by what."""

    metrics: Sequence[str]
    bsseval: bool
    window: float
    hop: float
    grid16: bool
    engine: Engine = "mssctl"


def score_track(
    track: str,
    references: Mapping[str, Array],
    estimates: Mapping[str, Array],
    mixture: Array | None,
    *,
    rate: int = 44_100,
    metrics: Sequence[str] = DEFAULT,
    frames: tuple[float, float] = (1.0, 1.0),
    apart: Collection[str] = (),
) -> tuple[list[StemScore], list[str]]:
    """Score each estimate, and the mixture in its place, against its reference.

    Args:
        track: name for messages and results.
        references: stem -> true audio ``(C, N)``.
        estimates: stem -> separated audio ``(C, N)``; its order is that of the scores.
        mixture: the unprocessed song ``(C, N)``, the baseline; None where there is none.
        rate: samples per second.
        metrics: names in `mssctl.config.metrics.METRICS`.
        frames: seconds of a frame of cSDR, and from one to the next.
        apart: stems that are no sources beside the others, such as their sum: they have no cSDR.

    Returns:
        The scores, and the stems left out, each with its reason: no reference, or a silent one.

    Raises:
        MssctlError: audio of unequal shape, or with NaN or infinite samples.
    """
    skipped: list[str] = []
    numbers: dict[str, dict[str, Score]] = {}
    for stem in estimates:
        if stem not in references:
            skipped.append(f"{track}: {stem}: no reference file")
        elif is_silent(references[stem]):
            skipped.append(f"{track}: {stem}: the reference is silent")
        else:
            numbers[stem] = {}
    together = [stem for stem in numbers if stem not in apart]
    # The metrics of all stems come last, so that the others have checked the audio of each stem.
    for metric in sorted((METRICS[name] for name in metrics), key=lambda m: m.needs_all_stems):
        for group in [together] if metric.needs_all_stems else [[stem] for stem in numbers]:
            true = {stem: references[stem] for stem in group}
            mixtures = {} if mixture is None else dict.fromkeys(group, mixture)
            try:
                own = measure(metric, true, estimates, rate, frames) if group else {}
                base = measure(metric, true, mixtures, rate, frames) if mixtures else {}
            except ValueError as error:
                raise MssctlError(f"{track}: {', '.join(group)}: {error}") from None
            for stem, value in own.items():
                numbers[stem][metric.name] = score(value, base.get(stem))
            skipped += [
                f"{track}: {stem}: no frame in which all stems sound: no {metric.title}"
                for stem in group
                if stem not in own
            ]
    return [StemScore(track, stem, found) for stem, found in numbers.items()], skipped


def score(estimate: float, mixture: float | None) -> Score:
    """A score with its improvement over the mixture, where there is one."""
    return Score(estimate, mixture, None if mixture is None else estimate - mixture)


def document(track: str, audio: ReferenceAudio, found: Found, scoring: Scoring) -> Document:
    """Score a track: ``scores``, ``skipped``, with BSSEval ``targets`` in museval's form.

    Raises:
        MssctlError: audio of unequal shape or with NaN, or museval is asked for and missing.
    """
    estimates = found.stems
    apart = sums({stem: audio.stems[stem] for stem in estimates if stem in audio.stems})
    scores, skipped = score_track(
        track,
        audio.stems,
        estimates,
        audio.mixture,
        rate=audio.rate,
        metrics=scoring.metrics,
        frames=(scoring.window, scoring.hop),
        apart=apart,
    )
    references = {item.stem: audio.stems[item.stem] for item in scores}
    together = {stem: audio for stem, audio in references.items() if stem not in apart}
    made: Document = {
        "track": track,
        "scored_together": list(together),
        "sums": {stem: list(parts) for stem, parts in apart.items()},
        "notes": [
            *audio.notes,
            *(f"estimate {note}" for note in found.notes),
            *(
                f"{stem} is the sum of {', '.join(parts)}: it is not scored as a source "
                "with them (no cSDR, no BSSEval) and is left out of the mean over stems"
                for stem, parts in apart.items()
            ),
        ],
        "references_sha256": content_hashes(references),
        "estimates_sha256": content_hashes({stem: estimates[stem] for stem in references}),
    }
    if scoring.bsseval and scores:
        frames, reasons = _bsseval(track, together, estimates, audio.rate, scoring)
        made |= frames
        skipped += reasons
    if found.failures:
        made["failures"] = [asdict(item) for item in found.failures]
    return {**made, **packed(scores, [*found.left_out, *skipped])}


def _bsseval(
    track: str,
    references: Mapping[str, Array],
    estimates: Mapping[str, Array],
    rate: int,
    scoring: Scoring,
) -> tuple[dict[str, Any], list[str]]:
    """The frames, and the stems that BSSEval is not defined for, each with its reason."""
    length = min((audio.shape[-1] for audio in references.values()), default=TAPS)
    if length < TAPS:
        return {}, [f"{track}: {length} samples, fewer than the {TAPS} taps: no BSSEval"]
    silent = [stem for stem in references if not np.any(estimates[stem].sum(axis=0))]
    skipped = [f"{track}: {stem}: the estimate is silent: no BSSEval" for stem in silent]
    true = {stem: audio for stem, audio in references.items() if stem not in silent}
    if not true:
        return {}, skipped
    try:
        frames = score_frames(
            true,
            estimates,
            rate=rate,
            window=scoring.window,
            hop=scoring.hop,
            grid16=scoring.grid16,
            engine=scoring.engine,
        )
    except ValueError as error:
        raise MssctlError(f"{track}: BSSEval: {error}") from None
    return frames, skipped
