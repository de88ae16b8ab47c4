"""What ``mssctl eval`` evaluates: whose estimates, on which tracks, checked before any work."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mssctl._version import __version__
from mssctl.config.schema import AudioConfig
from mssctl.data.folders import folders, is_folder
from mssctl.data.layouts import list_place
from mssctl.data.names import USUAL_STEMS, split_of
from mssctl.data.parts import has_parts
from mssctl.data.songs import SongFiles
from mssctl.data.stem_map import parse_stem_map
from mssctl.data.tracks import find_musdb, find_tracks
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
from mssctl.evaluation.references import check
from mssctl.evaluation.scoring import Scoring
from mssctl.events import Reporter
from mssctl.failures import failure
from mssctl.options.base import refuse
from mssctl.options.evaluate import EvaluateOptions
from mssctl.results.common import FileFailure
from mssctl.separation.open_model import find_model
from mssctl.separation.stream import SeparationSettings

# Of torchaudio: trained on both splits of MUSDB18-HQ, and 150 more songs. HDEMUCS_HIGH_MUSDB was
# trained on the training split alone.
_KNOWN = {"hdemucs_high_musdb_plus": "MUSDB18-HQ train and test, and 150 more songs"}
_MUSDB = re.compile(r"musdb", re.IGNORECASE)
_TEST = re.compile(r"\btest\b", re.IGNORECASE)


@dataclass(frozen=True)
class Plan:
    """What is evaluated: whose estimates, of which form, on which tracks.

    Attributes:
        notes: on what was passed over.
        failures: tracks that cannot be evaluated.
        marks: why the scores must not be read as others'.
    """

    source: Estimates
    audio: AudioConfig
    tracks: Sequence[SongFiles]
    notes: Sequence[str]
    failures: Sequence[FileFailure]
    marks: Sequence[str] = ()


def plan(given: EvaluateOptions, report: Reporter) -> Plan:
    """Find the tracks and whose estimates are scored, and check them against each other.

    Raises:
        MssctlError: nothing fits, or a model that was trained on these tracks.
    """
    split = given.split or "test"
    if given.musdb is not None:
        refuse(given, "`musdb`", ["stem_map"], hint="name the folder with `reference`")
        tracks, notes = find_musdb(Path(given.musdb), split)
    else:
        assert given.reference is not None
        tracks, notes = _references(Path(given.reference), given)
    if given.estimates is not None or given.oracle is not None:
        found = _without_model(given, tracks, notes)
    else:
        found = _with_model(given, tracks, notes, report)
    if given.musdb is None:
        return found
    card = found.source.model.card if isinstance(found.source, FromModel) else {}
    return replace(found, marks=guard(found.source.name, card, split=split, force=given.force))


def _references(reference: Path, given: EvaluateOptions) -> tuple[list[SongFiles], list[str]]:
    """The tracks of a folder, and notes; those of a set of parts have the stems that are scored."""
    table = parse_stem_map(given.stem_map)
    if not is_folder(reference) or any(split_of(path.name) for path in folders(reference)):
        return find_tracks(reference)  # which names the splits
    if not table and not has_parts(reference, USUAL_STEMS):
        return find_tracks(reference)
    stems: Sequence[str] = USUAL_STEMS
    if given.estimates is not None:
        stems = FromFolder(Path(given.estimates)).stems
    elif given.oracle is None:
        stems = find_model(given.name, given.device, given.dtype).config.audio.stems
    listing = list_place(reference, tuple(stems), table=table)
    return listing.splits["valid"], listing.skipped


def _without_model(
    given: EvaluateOptions, tracks: Sequence[SongFiles], notes: Sequence[str]
) -> Plan:
    """Estimates from files, or from the references themselves."""
    known, unread = _first_unpacked(tracks)
    source: Estimates
    more: list[str] = []
    if given.estimates is not None:
        source = FromFolder(Path(given.estimates))
        more = [*source.notes, *source.unused(tracks)]
    else:
        assert given.oracle is not None
        stems = in_usual_order({stem for track in known for stem in track.stems})
        source = FromOracle(given.oracle, stems)
    audio = form_of(known, source.stems)
    usable = [track for track in known if track.packed or set(source.stems) & set(track.stems)]
    names = ", ".join(source.stems)
    more += [f"{t.name}: none of the stems {names}: left out" for t in known if t not in usable]
    kept, noted, unfit = _fitting(usable, source.name, audio, add_up=False)
    more += noted
    if bare := [track.name for track in kept if track.packed is None and track.mixture is None]:
        more.append(f"no mixture file in {len(bare)} of {len(kept)} tracks: no gains over it there")
    return Plan(source, audio, kept, [*notes, *more], [*unread, *unfit])


def _with_model(
    given: EvaluateOptions,
    tracks: Sequence[SongFiles],
    notes: Sequence[str],
    report: Reporter,
) -> Plan:
    """A model, checked against the tracks before it is loaded."""
    found = find_model(given.name, given.device, given.dtype)
    audio = found.config.audio
    tracks = [track.named((*audio.stems, *audio.outputs)) for track in tracks]
    settings = SeparationSettings.from_config(
        found.config,
        segment_seconds=given.segment,
        overlap=given.overlap,
        batch_size=given.batch,
        amp_dtype=found.dtype.amp_dtype,
    )
    tracks, more, failures = _fitting(tracks, found.name, audio, add_up=True)
    model = found.load(report)
    identity = {
        "model": model.name,
        "sha256": model.sha256,
        "device": str(found.device.device),
        "dtype": found.dtype.name,
        "settings": {
            "sample_rate": audio.sample_rate,
            "segment_seconds": settings.segment / audio.sample_rate,
            "overlap": settings.overlap,
            "fade": settings.fade,
            # Where they are what they were before there was a choice, earlier results still count.
            **({} if settings.edges == "reflect" else {"edges": settings.edges}),
            **({"normalize": True} if settings.normalize else {}),
            "batch_size": settings.batch_size,
            "mix_consistent": settings.mix_consistent and audio.complete,
            **model.separator.backends(),
        },
    }
    source = FromModel(model, settings, identity)
    return Plan(source, audio, tracks, [*notes, *more], failures)


def _first_unpacked(
    tracks: Sequence[SongFiles],
) -> tuple[list[SongFiles], list[FileFailure]]:
    """The tracks, the first with files of its own, which show what form all have.

    Raises:
        MssctlError: none of them can be read.
    """
    errors: list[MssctlError] = []
    for number, track in enumerate(tracks):
        try:
            unpacked = track.unpacked()
        except MssctlError as error:
            errors.append(error)
            continue
        failures = [failure(t.name, e) for t, e in zip(tracks, errors, strict=False)]
        return [unpacked, *tracks[number + 1 :]], failures
    raise errors[0]


def _fitting(
    tracks: Sequence[SongFiles], model: str, audio: AudioConfig, *, add_up: bool
) -> tuple[list[SongFiles], list[str], list[FileFailure]]:
    """The tracks whose headers fit; notes on them, and the failures.

    Raises:
        MssctlError: none fits.
    """
    kept: list[SongFiles] = []
    notes: list[str] = []
    errors: list[tuple[str, MssctlError]] = []
    for track in tracks:
        try:
            if track.packed is None:  # else after it is decoded
                notes += check(track, model=model, audio=audio, add_up=add_up)
            kept.append(track)
        except MssctlError as error:
            errors.append((track.name, error))
    if errors and not kept:
        raise errors[0][1]
    return kept, notes, [failure(name, error) for name, error in errors]


def trained_on(name: str, card: Mapping[str, str]) -> str | None:
    """What a model's name, or else its card, says about its training data."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower())
    return next((data for known, data in _KNOWN.items() if known in plain), card.get("trained_on"))


def guard(name: str, card: Mapping[str, str], *, split: str, force: bool) -> list[str]:
    """Refuse a model on MUSDB18's test tracks if it was trained on them.

    Args:
        name: of the model, or of the folder of its estimates.
        card: of the model; its ``trained_on`` is looked at where the name is not known.
        split: of MUSDB18: ``train``, ``valid`` or ``test``.
        force: score it anyway.

    Returns:
        With ``force``, the mark that the result must carry; else nothing.

    Raises:
        MssctlError: it was trained on these tracks.
    """
    data = trained_on(name, card)
    if data is None or split != "test" or not (_MUSDB.search(data) and _TEST.search(data)):
        return []
    mark = f"'{name}' was trained on these tracks ({data}): its scores say nothing about others"
    if not force:
        raise MssctlError(mark, hint="`force` scores it anyway, and marks the result")
    return [mark]


def provenance_of(found: Plan, scoring: Scoring, given: EvaluateOptions) -> dict[str, Any]:
    """What the scores depend on, beside the audio."""
    where = {} if given.musdb is None else {"musdb": f"MUSDB18 {given.split or 'test'}"}
    window, hop = scoring.window, scoring.hop
    settings = bsseval_settings(window, hop, scoring.grid16, scoring.engine)
    return {
        "program": f"mssctl {__version__}",
        "estimates": found.source.identity,
        "metrics": definitions(scoring.metrics),
        "frames": {"window_seconds": window, "hop_seconds": hop},
        "gain": "estimates as they are",
        "bsseval": settings if scoring.bsseval else {},
        "marks": list(found.marks),
        **where,
    }
