"""The summary of an evaluation: made from the documents of its tracks, as text, and read back."""

import csv
import io
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mssctl.config.metrics import metric_of
from mssctl.data.names import some
from mssctl.errors import ExitCode, MssctlError, shown
from mssctl.evaluation.bsseval.frames import spreads
from mssctl.evaluation.documents import SUMMARY, Document, as_text, read, unpacked
from mssctl.evaluation.metrics import definitions
from mssctl.evaluation.request import Plan
from mssctl.evaluation.scoring import Scoring, score
from mssctl.options.evaluate import EvaluateOptions
from mssctl.pages import render
from mssctl.results.common import FileFailure
from mssctl.results.evaluate import EvalResult, Score, StemScore

Numbers = dict[tuple[str, str], dict[str, float]]  # (stem, metric) -> track -> number


def summary_of(
    plan: Plan,
    scoring: Scoring,
    documents: Sequence[Document],
    provenance: Mapping[str, Any],
    given: EvaluateOptions,
) -> EvalResult:
    """What the documents of all tracks say together.

    Raises:
        MssctlError: there is no score in them.
    """
    reference = str(given.musdb or given.reference)
    scores = [item for made in documents for item in unpacked(made)]
    skipped = [f"{failed.path}: {failed.error}" for failed in plan.failures]
    skipped += [reason for made in documents for reason in made["skipped"]]
    failed = [FileFailure(**item) for made in documents for item in made.get("failures", ())]
    failures = [*plan.failures, *failed]
    if not scores:
        raise _nothing(reference, skipped, failures)
    whole = [made for made in documents if made["scores"] or not made.get("failures")]
    framewise = [made for made in documents if "targets" in made]
    stems, identity = plan.source.stems, plan.source.identity
    table = spreads(framewise)
    return EvalResult(
        model=plan.source.name,
        sha256=identity.get("sha256", ""),
        device=identity.get("device", ""),
        dtype=identity.get("dtype", ""),
        reference=reference,
        tracks=len(whole),
        definitions=definitions(scoring.metrics),
        settings=dict(identity.get("settings", {})),
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
        out=None if given.out is None else str(Path(given.out)),
        per_track=given.per_track,
        failures=failures,
    )


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


def means(
    scores: Sequence[StemScore], stems: Sequence[str], apart: Collection[str] = ()
) -> dict[str, dict[str, Score]]:
    """Mean over tracks for each stem, and under ``mean`` the mean of the stems' numbers.

    So each stem weighs the same in ``mean``, however many tracks have it. Metrics that are defined
    as medians over tracks (cSDR) are those.

    Args:
        scores: at least one.
        stems: the order of the rows; a stem without scores has none.
        apart: stems that ``mean`` leaves out, such as the sum of others.

    Returns:
        stem or ``mean`` -> metric -> mean.
    """
    table = {
        stem: _row([item.metrics for item in scores if item.stem == stem])
        for stem in counts(scores, stems)
    }
    of_stems = [row for stem, row in table.items() if stem not in apart]
    return {**table, "mean": _row(of_stems, medians=False)}


def counts(scores: Sequence[StemScore], stems: Sequence[str]) -> dict[str, int]:
    """Stem -> number of tracks it was scored on, without those of none."""
    numbers = {stem: sum(item.stem == stem for item in scores) for stem in stems}
    return {stem: number for stem, number in numbers.items() if number}


def _row(rows: Sequence[Mapping[str, Score]], *, medians: bool = True) -> dict[str, Score]:
    """Metric -> its mean, or with ``medians`` the median where that is how it is defined."""
    row = {}
    for name in dict.fromkeys(name for scores in rows for name in scores):
        middle = statistics.median if medians and metric_of(name).median else statistics.fmean
        found = [scores[name] for scores in rows if name in scores]
        base = [item.mixture for item in found if item.mixture is not None]
        mixture = middle(base) if len(base) == len(found) else None
        row[name] = score(middle(item.estimate for item in found), mixture)
    return row


# --- as text


def tables(result: EvalResult) -> dict[str, str]:
    """File name -> text: JSON and CSV for programs, Markdown for people."""
    return {
        SUMMARY: as_text(asdict(result)),
        "scores.csv": _csv(result),
        "scores.md": render("mssctl.evaluation", "scores.md.j2", result=result),
    }


def _csv(result: EvalResult) -> str:
    """One row per track, stem and metric: of whole tracks, and medians over frames.

    What failed has a row ``failed`` with its path and no value.
    """
    rows: list[tuple[str, str, str, float | None]] = [
        (item.track, item.stem, name, score.estimate)
        for item in result.scores
        for name, score in item.metrics.items()
    ]
    rows += [
        (track, stem, name, value)
        for track, stems in result.medians.items()
        for stem, metrics in stems.items()
        for name, value in metrics.items()
    ]
    rows += [(failed.path, "", "failed", None) for failed in result.failures]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("track", "stem", "metric", "value"))
    table.writerows((_plain(track), _plain(stem), name, value) for track, stem, name, value in rows)
    return text.getvalue()


def _plain(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


# --- read back


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Score(_Form):
    estimate: float | None
    mixture: float | None = None
    improvement: float | None = None


class _StemScore(_Form):
    track: str
    stem: str
    metrics: dict[str, _Score]


class _Spread(_Form):
    median: float
    mean: float
    lower_quartile: float
    upper_quartile: float
    tracks: int
    frames: int


class _Provenance(_Form):
    program: str = ""
    scored_together: dict[str, list[str]]
    references_sha256: dict[str, dict[str, str]]
    bsseval: dict[str, str | float | bool | None] = {}
    frames: dict[str, Any] | None = None
    musdb: str | None = None


class _Summary(_Form):
    model: str
    device: str = ""
    dtype: str = ""
    reference: str = ""
    tracks: int = 0
    definitions: dict[str, str]
    means: dict[str, dict[str, _Score]] = {}
    counts: dict[str, int] = {}
    scores: list[_StemScore]
    skipped: list[str] = []
    notes: list[str] = []
    marks: list[str] = []
    provenance: _Provenance
    bsseval: dict[str, dict[str, _Spread]] = {}
    medians: dict[str, dict[str, dict[str, float]]]
    ill_conditioned: list[str] = []


class _Frame(_Form):
    time: float
    metrics: dict[str, float | None]


class _Target(_Form):
    name: str
    frames: list[_Frame]


class _Track(_Form):
    targets: list[_Target] = []


def read_summary(path: Path) -> dict[str, Any]:
    """A ``summary.json``, or what ``mssctl eval --json`` printed.

    Raises:
        MssctlError: unreadable, changed since it was written, or of another form (exit 4).
    """
    tree = read(path)
    data = tree.get("data")
    return _checked(_Summary, data if isinstance(data, dict) else tree, path)


def read_track(path: Path) -> dict[str, Any]:
    """The document of a track; ``targets`` is there if it was scored in frames.

    Raises:
        MssctlError: unreadable, or of another form (exit 4).
    """
    return _checked(_Track, read(path), path)


def numbers_of(summary: Mapping[str, Any]) -> Numbers:
    """Every number that there is: of whole tracks, and medians over frames."""
    table: Numbers = {}
    for item in summary["scores"]:
        for metric, found in item["metrics"].items():
            numbers = table.setdefault((item["stem"], metric), {})
            if found["estimate"] is not None:
                numbers[item["track"]] = float(found["estimate"])
    for track, stems in summary["medians"].items():
        for stem, row in stems.items():
            for metric, value in row.items():
                table.setdefault((stem, metric), {})[track] = float(value)
    return table


def _checked(form: type[_Form], tree: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        return form.model_validate(tree).model_dump(exclude_unset=form is _Track)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise MssctlError(
            f"{path}: not a result of mssctl eval: {shown(place)[1:-1]}: {first['msg']}",
            hint="give the summary.json that `mssctl eval --out DIR` writes, or DIR",
        ) from None
