"""``mssctl eval``: score a model, a folder of estimates or an oracle against references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.documents import as_text, marked
from mssctl.evaluation.estimates import FromModel
from mssctl.evaluation.guard import guard
from mssctl.evaluation.metrics import chosen
from mssctl.evaluation.references import find_musdb, find_tracks
from mssctl.evaluation.request import Plan, provenance_of, with_model, without_model
from mssctl.evaluation.result import result_of
from mssctl.evaluation.run import score_all
from mssctl.evaluation.scoring import Scoring, jobs_within
from mssctl.evaluation.store import Store
from mssctl.evaluation.tables import as_csv, as_markdown
from mssctl.events import Notice, Reporter, silent
from mssctl.options.evaluate import EvaluateOptions
from mssctl.results.evaluate import EvalResult


def evaluate(
    options: EvaluateOptions | None = None, *, report: Reporter = silent, **changes: Any
) -> EvalResult:
    """Score estimates of reference tracks, and the unprocessed mixture beside them.

    All file headers are checked before anything is computed. Tracks that were scored before in the
    same folder, with the same model, settings and files, are not computed again.

    Args:
        options: what is scored, against what, and how; the defaults if None.
        report: receives events.
        changes: fields of `EvaluateOptions`, instead of those in ``options``.

    Raises:
        MssctlError: no such model or device (exit 3); no tracks, audio that does not fit the
            model, unequal lengths, damaged audio, or nothing but silence (exit 4); ``out`` or
            ``html`` hold something else (exit 2).
    """
    given = EvaluateOptions.given(options, changes)
    metrics = [given.metrics] if isinstance(given.metrics, str) else given.metrics or ["default"]
    asked, framewise = chosen(metrics)
    _check(given, framewise=framewise)
    scoring = Scoring(asked, framewise, given.window, given.hop, given.round16, given.engine)
    plan = _plan(given, report)
    split = given.split or "test"
    where = {"musdb": f"MUSDB18 {split}"} if given.musdb is not None else {}
    provenance = provenance_of(plan, scoring, where)
    wanted = {"stems": given.keep_stems, "excerpts": given.html is not None}
    kinds = [kind for kind, kept in wanted.items() if kept]
    out = None if given.out is None else Path(given.out)
    html = None if given.html is None else Path(given.html)
    store = Store(out, provenance, plan.source.mark, overwrite=given.overwrite)
    for note in store.check(plan.tracks, kinds, html):
        report(Notice(note, level="warning"))
    longest = max(track.samples(plan.source.stems) for track in plan.tracks)
    jobs = min(jobs_within(given.jobs, given.memory, longest), len(plan.tracks))
    documents = score_all(plan, scoring, store, kinds, jobs, report)
    against = str(given.musdb or given.reference)
    result = result_of(plan, scoring, documents, provenance, against, out, given.per_track)
    if out is not None:
        tables = {
            "summary.json": as_text(asdict(result)),
            "scores.csv": as_csv(result, documents),
            "scores.md": as_markdown(result),
        }
        store.finish(plan.tracks, kinds, tables)
    if html is not None and out is not None:
        _write_report(html, out, store, provenance)
    return result


def _write_report(html: Path, out: Path, store: Store, provenance: Mapping[str, Any]) -> None:
    # Imports matplotlib, which takes half a second.
    from mssctl.evaluation.report import plots, report  # noqa: PLC0415

    pictures = {name: marked(text, provenance) for name, text in plots(out).items()}
    store.write_page(html, marked(report(out), provenance), pictures)


def _check(given: EvaluateOptions, *, framewise: bool) -> None:
    """Refuse options that exclude each other, or would do nothing.

    Raises:
        MssctlError: exit 2.
    """
    whose = (given.name, given.estimates, given.oracle)
    if sum(one is not None for one in whose) > 1:
        raise MssctlError(
            "a folder of estimates, `name` and `oracle` exclude each other",
            hint="mssctl eval compare sets the results of several beside each other",
            exit_code=ExitCode.USAGE,
        )
    if (given.reference is None) == (given.musdb is None):
        raise MssctlError(
            "name the references with one of `reference` and `musdb`", exit_code=ExitCode.USAGE
        )
    separates = given.estimates is None and given.oracle is None
    if given.keep_stems and (given.out is None or not separates):
        raise MssctlError(
            "`keep_stems` writes the stems of a model below `out`",
            hint="name a folder with `out`, and a model with `name`",
            exit_code=ExitCode.USAGE,
        )
    if given.html is not None and given.out is None:
        raise MssctlError(
            "`html` is made from the folder of the evaluation",
            hint="name one with `out`",
            exit_code=ExitCode.USAGE,
        )
    of_a_model = (given.device, given.dtype, given.segment, given.overlap, given.batch)
    _only(
        {
            "`device`, `dtype`, `segment`, `overlap` and `batch`": of_a_model
            != ("auto", "auto", None, None, None)
        },
        separates,
        "a model",
    )
    _only(
        {"`engine=museval`": given.engine == "museval", "`round16=False`": not given.round16},
        framewise,
        "`metrics=bsseval`",
    )
    _only(
        {"`split`": given.split is not None, "`force`": given.force},
        given.musdb is not None,
        "`musdb`",
    )


def _only(given: Mapping[str, bool], useful: bool, purpose: str) -> None:
    """Refuse options that would do nothing."""
    for name, there in given.items():
        if there and not useful:
            raise MssctlError(f"{name}: only with {purpose}", exit_code=ExitCode.USAGE)


def _plan(given: EvaluateOptions, report: Reporter) -> Plan:
    """Whose estimates of which tracks, with the marks of a model on its own training tracks."""
    split = given.split or "test"
    if given.musdb is not None:
        tracks, notes = find_musdb(Path(given.musdb), split)
    else:
        assert given.reference is not None
        tracks, notes = find_tracks(Path(given.reference))
    if given.estimates is not None or given.oracle is not None:
        plan = without_model(given.estimates, given.oracle, tracks, notes)
    else:
        plan = with_model(given, tracks, notes, report)
    if given.musdb is None:
        return plan
    card = plan.source.model.card if isinstance(plan.source, FromModel) else {}
    return replace(plan, marks=guard(plan.source.name, card, split=split, force=given.force))
