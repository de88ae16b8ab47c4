"""``mssctl eval``: score a model, a folder of estimates or an oracle against references."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.metrics import chosen
from mssctl.evaluation.request import plan, provenance_of
from mssctl.evaluation.run import jobs_within, score_all
from mssctl.evaluation.scoring import Scoring
from mssctl.evaluation.store import Store
from mssctl.evaluation.summary import summary_of, tables
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
    found = plan(given, report)
    provenance = provenance_of(found, scoring, given)
    wanted = {"stems": given.keep_stems, "excerpts": given.html is not None}
    kinds = [kind for kind, kept in wanted.items() if kept]
    out = None if given.out is None else Path(given.out)
    html = None if given.html is None else Path(given.html)
    store = Store(out, provenance, found.source.mark, found.tracks, kinds, given.overwrite)
    for note in store.check(html):
        report(Notice(note, level="warning"))
    jobs = jobs_within(given.jobs, given.memory, found)
    documents = score_all(found, scoring, store, jobs, report)
    result = summary_of(found, scoring, documents, provenance, given)
    if out is not None:
        store.finish(tables(result))
    if html is not None and out is not None:
        # Imports matplotlib, which takes half a second.
        from mssctl.evaluation.report import report as page_of  # noqa: PLC0415

        store.write_page(html, *page_of(out, html))
    return result


def _check(given: EvaluateOptions, *, framewise: bool) -> None:
    """Refuse options that exclude each other, or would do nothing.

    Raises:
        MssctlError: exit 2.
    """
    whose = (given.name, given.estimates, given.oracle)
    if sum(one is not None for one in whose) > 1:
        raise MssctlError(
            "a folder of estimates, `name` and `oracle` exclude each other",
            hint="`mssctl eval compare` compares the results of several",
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
    model_options = (given.device, given.dtype, given.segment, given.overlap, given.batch)
    _only(
        {
            "`device`, `dtype`, `segment`, `overlap` and `batch`": model_options
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
