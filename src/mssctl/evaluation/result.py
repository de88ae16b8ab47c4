"""From the documents of all tracks to the result of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mssctl.data.names import some
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.bsseval.frames import spreads
from mssctl.evaluation.documents import Document, unpacked
from mssctl.evaluation.metrics import definitions
from mssctl.evaluation.request import Plan
from mssctl.evaluation.scores import counts, means
from mssctl.evaluation.scoring import Scoring
from mssctl.results.common import FileFailure
from mssctl.results.evaluate import EvalResult


def result_of(
    plan: Plan,
    scoring: Scoring,
    documents: Sequence[Document],
    provenance: Mapping[str, Any],
    reference: str,
    out: Path | str | None,
    per_track: bool,
) -> EvalResult:
    """What the documents of all tracks say together.

    Raises:
        MssctlError: there is no score in them.
    """
    scores = [item for made in documents for item in unpacked(made)]
    skipped = [f"{failed.path}: {failed.error}" for failed in plan.failures]
    skipped += [reason for made in documents for reason in made["skipped"]]
    failures = [*plan.failures, *_failures(documents)]
    if not scores:
        raise _nothing(reference, skipped, failures)
    whole = [made for made in documents if made["scores"] or not made.get("failures")]
    framewise = [made for made in documents if "targets" in made]
    stems = plan.source.stems
    table = spreads(framewise)
    return EvalResult(
        model=plan.source.name,
        sha256=plan.sha256,
        device=plan.device,
        dtype=plan.dtype,
        reference=reference,
        tracks=len(whole),
        definitions=definitions(scoring.metrics),
        settings=dict(plan.settings or {}),
        means=means(scores, stems, {stem for made in documents for stem in made.get("sums", ())}),
        counts=counts(scores, stems),
        scores=scores,
        skipped=skipped,
        notes=[*plan.notes, *_notes(documents)],
        marks=list(plan.marks),
        provenance={
            **provenance,
            "scored_together": {made["track"]: made["scored_together"] for made in whole},
            "references_sha256": {made["track"]: made["references_sha256"] for made in whole},
        },
        bsseval={stem: table[stem] for stem in stems if stem in table},
        medians={made["track"]: _medians(made) for made in framewise},
        ill_conditioned=[made["track"] for made in framewise if made.get("ill_conditioned")],
        out=None if out is None else str(out),
        per_track=per_track,
        failures=failures,
    )


def _failures(documents: Sequence[Document]) -> list[FileFailure]:
    return [FileFailure(**failed) for made in documents for failed in made.get("failures", ())]


def _nothing(
    reference: str, skipped: Sequence[str], failures: Sequence[FileFailure]
) -> MssctlError:
    """Why there are no scores at all."""
    codes = {failed.exit_code for failed in failures}
    hints = {failed.hint for failed in failures}
    if not failures:
        hints = {"a stem needs an estimate, and a reference that is not silent"}
    return MssctlError(
        f"{reference}: nothing to score: {'; '.join(skipped)}",
        hint=hints.pop() if len(hints) == 1 else None,
        exit_code=codes.pop() if len(codes) == 1 else ExitCode.BAD_INPUT,
    )


def _notes(documents: Sequence[Document]) -> list[str]:
    """What was decided about tracks, each once with the tracks it is about."""
    tracks: dict[str, list[str]] = {}
    for made in documents:
        for note in made.get("notes", ()):
            tracks.setdefault(note, []).append(made["track"])
    return [f"{some(names)}: {note}" for note, names in tracks.items()]


def _medians(made: Document) -> dict[str, dict[str, float]]:
    """Stem -> metric of BSSEval -> median over a track's frames."""
    return {
        stem: {name: value.median for name, value in row.items()}
        for stem, row in spreads([made]).items()
    }
