"""What ``mssctl eval`` evaluates: whose estimates, on which tracks, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssctl._version import __version__
from mssctl.config.schema import AudioConfig
from mssctl.errors import MssctlError
from mssctl.evaluation.bsseval.frames import bsseval_settings
from mssctl.evaluation.estimates import (
    Estimates,
    FromFolder,
    FromModel,
    FromOracle,
    form_of,
    in_usual_order,
)
from mssctl.evaluation.metrics import definitions
from mssctl.evaluation.references import ReferenceTrack, check
from mssctl.evaluation.scoring import Scoring
from mssctl.events import Reporter
from mssctl.failures import failure
from mssctl.options.evaluate import EvaluateOptions, Oracle
from mssctl.results.common import FileFailure
from mssctl.separation.open_model import find_model
from mssctl.separation.stream import SeparationSettings


@dataclass(frozen=True)
class Plan:
    """What is evaluated: whose estimates, of which form, on which tracks, with which provenance."""

    source: Estimates
    audio: AudioConfig
    tracks: Sequence[ReferenceTrack]
    notes: Sequence[str]
    marks: Sequence[str]
    device: str = ""
    dtype: str = ""
    sha256: str = ""
    settings: Mapping[str, Any] | None = None
    failures: Sequence[FileFailure] = ()

    @property
    def separates(self) -> bool:
        """Whether a model has to run."""
        return isinstance(self.source, FromModel)


def without_model(
    estimates: Path | str | None,
    oracle: Oracle | None,
    tracks: Sequence[ReferenceTrack],
    notes: Sequence[str],
) -> Plan:
    """Estimates from files, or from the references themselves."""
    known, failures = _first_unpacked(tracks)
    source: Estimates
    more: list[str] = []
    if estimates is not None:
        source = FromFolder(Path(estimates))
        more = [*source.notes, *source.unused(tracks)]
        stems = source.stems
    else:
        assert oracle is not None
        names = {stem for track in known for stem in track.stems}
        stems = in_usual_order(names)
        source = FromOracle(oracle, stems)
    audio = form_of(known, stems)
    kept: list[ReferenceTrack] = []
    for track in known:
        if track.packed is None and not set(stems) & set(track.stems):
            more.append(f"{track.name}: none of the stems {', '.join(stems)}: left out")
            continue
        kept.append(track)
    kept, noted, unfit = _fitting(kept, source.name, audio, add_up=False)
    more += noted
    if bare := [track.name for track in kept if track.packed is None and track.mixture is None]:
        more.append(f"no mixture file in {len(bare)} of {len(kept)} tracks: no gains over it there")
    return Plan(source, audio, kept, [*notes, *more], [], failures=[*failures, *unfit])


def _first_unpacked(
    tracks: Sequence[ReferenceTrack],
) -> tuple[list[ReferenceTrack], list[FileFailure]]:
    """The tracks, the first with files of its own, which show what form all have.

    Raises:
        MssctlError: none of them can be read.
    """
    failures: list[FileFailure] = []
    first: MssctlError | None = None
    for number, track in enumerate(tracks):
        try:
            return [track.unpacked(), *tracks[number + 1 :]], failures
        except MssctlError as error:
            first = first or error
            failures.append(failure(track.name, error))
    assert first is not None, "there is a track"
    raise first


def _fitting(
    tracks: Sequence[ReferenceTrack], model: str, audio: AudioConfig, *, add_up: bool
) -> tuple[list[ReferenceTrack], list[str], list[FileFailure]]:
    """The tracks whose headers fit; notes on them, and the failures.

    Raises:
        MssctlError: none fits.
    """
    kept: list[ReferenceTrack] = []
    notes: list[str] = []
    failures: list[FileFailure] = []
    first: MssctlError | None = None
    for track in tracks:
        try:
            if track.packed is None:  # else after it is decoded
                notes += check(track, model=model, audio=audio, add_up=add_up)
            kept.append(track)
        except MssctlError as error:
            first = first or error
            failures.append(failure(track.name, error))
    if first and not kept:
        raise first
    return kept, notes, failures


def with_model(
    given: EvaluateOptions,
    tracks: Sequence[ReferenceTrack],
    notes: Sequence[str],
    report: Reporter,
) -> Plan:
    """A model, checked against the tracks before it is loaded."""
    found = find_model(given.name or "starter", given.device, given.dtype)
    config = found.config
    tracks = [track.named((*config.audio.stems, *config.audio.outputs)) for track in tracks]
    settings = SeparationSettings.from_config(
        config,
        segment_seconds=given.segment,
        overlap=given.overlap,
        batch_size=given.batch,
        amp_dtype=found.dtype.amp_dtype,
    )
    tracks, more, failures = _fitting(tracks, found.name, config.audio, add_up=True)
    model = found.load(report)
    run_settings: dict[str, str | int | float | bool] = {
        "sample_rate": config.audio.sample_rate,
        "segment_seconds": settings.segment / config.audio.sample_rate,
        "overlap": settings.overlap,
        "fade": settings.fade,
        "batch_size": settings.batch_size,
        "mix_consistent": settings.mix_consistent and config.audio.complete,
        **model.separator.backends(),
    }
    identity = {
        "model": model.name,
        "sha256": model.sha256,
        "device": str(found.device.device),
        "dtype": found.dtype.name,
        "settings": run_settings,
    }
    return Plan(
        FromModel(model, settings, identity),
        config.audio,
        tracks,
        [*notes, *more],
        [],
        str(found.device.device),
        found.dtype.name,
        model.sha256,
        run_settings,
        failures,
    )


def provenance_of(plan: Plan, scoring: Scoring, where: Mapping[str, str]) -> dict[str, Any]:
    """What the scores depend on, beside the audio."""
    framewise = (
        bsseval_settings(scoring.window, scoring.hop, scoring.grid16, scoring.engine)
        if scoring.bsseval
        else {}
    )
    return {
        "program": f"mssctl {__version__}",
        "estimates": plan.source.identity,
        "metrics": definitions(scoring.metrics),
        "frames": {"window_seconds": scoring.window, "hop_seconds": scoring.hop},
        "gain": "estimates as they are",
        "bsseval": framewise,
        "marks": list(plan.marks),
        **where,
    }
