"""``mssctl eval``: score a model, a folder of estimates or an oracle against references."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mssctl._version import __version__
from mssctl.audio.writer import AtomicWriter
from mssctl.config import bounds
from mssctl.config.schema import AudioConfig
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.bsseval.frames import passport
from mssctl.evaluation.documents import marked
from mssctl.evaluation.estimates import (
    Estimates,
    FromModel,
    Oracle,
)
from mssctl.evaluation.excerpts import write_excerpt
from mssctl.evaluation.guard import guard
from mssctl.evaluation.metrics import chosen, definitions
from mssctl.evaluation.metrics.sdr import Array
from mssctl.evaluation.references import (
    ReferenceAudio,
    ReferenceTrack,
    check,
    find_musdb,
    find_tracks,
    read,
)
from mssctl.evaluation.report import plots
from mssctl.evaluation.report import report as report_page
from mssctl.evaluation.request import Plan, with_model, without_model
from mssctl.evaluation.result import result_of
from mssctl.evaluation.scoring import (
    Engine,
    Scoring,
    document,
    in_order,
    jobs_within,
    scored,
    unscored,
)
from mssctl.evaluation.store import Store
from mssctl.evaluation.tables import as_csv, as_markdown
from mssctl.evaluation.track_document import Document, as_text
from mssctl.events import Notice, Progress, Reporter, silent
from mssctl.hardware.device import Dtype
from mssctl.results.evaluate import EvalResult
from mssctl.separation.stream import check_numbers


@dataclass(frozen=True)
class Frames:
    """How BSSEval cuts the tracks: seconds, and whether references are rounded to 16 bit."""

    window: float = 1.0
    hop: float = 1.0
    grid16: bool = True


def evaluate(
    *,
    name: str | None = None,
    estimates: Path | str | None = None,
    oracle: Oracle | None = None,
    reference: Path | str | None = None,
    musdb: Path | str | None = None,
    split: str | None = None,
    device: str = "auto",
    dtype: Dtype = "auto",
    segment: float | None = None,
    overlap: float | None = None,
    batch: int | None = None,
    metrics: str | Sequence[str] = "default",
    engine: Engine = "mssctl",
    frames: Frames = Frames(),
    jobs: int | None = None,
    memory: float | None = None,
    out: Path | str | None = None,
    keep_stems: bool = False,
    html: Path | str | None = None,
    per_track: bool = False,
    force: bool = False,
    overwrite: bool = False,
    report: Reporter = silent,
) -> EvalResult:
    """Score estimates of reference tracks, and the unprocessed mixture beside them.

    All file headers are checked before anything is computed.

    Args:
        name: bundled model, or path of a ``.safetensors`` file; ``starter`` if nothing else is
            named.
        estimates: folder of estimates instead: ``TRACK/STEM.wav``, or museval's layout.
        oracle: ``irm`` (ideal ratio mask) or ``mixture`` instead.
        reference: folder of track folders, or one track folder; a track holds the stems and
            ``mixture`` as audio files. For a model without ``mixture``, the sum of its stems is
            used.
        musdb: folder of MUSDB18 or MUSDB18-HQ instead.
        split: of MUSDB18: ``test`` (if None), ``valid`` or ``train``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: inside the model, see `mssctl.api.separate.separate`.
        segment: seconds that the model sees at once; None as in its configuration.
        overlap: fraction of a segment shared with the next; None likewise.
        batch: segments computed at once; None likewise.
        metrics: names besides the default ones, see `mssctl.evaluation.metrics`.
        engine: of BSSEval: ``mssctl`` or ``museval``.
        frames: windows of BSSEval and cSDR.
        jobs: tracks scored at once; None for one per two cores.
        memory: GiB that they may take together; None for most of what is free.
        out: folder for a document per track, ``scores.csv``, ``scores.md`` and ``summary.json``;
            tracks scored there before, with the same model, settings and files, are not computed
            again. Results of anything else are refused.
        keep_stems: also write the separated stems there.
        html: also write a page of tables, plots and sounds, and the plots below ``out``.
        per_track: the result shows every track, not only what is over all of them.
        force: score a model also on tracks that it was trained on; the result is marked.
        overwrite: replace what other evaluations, or anybody else, left at ``out`` and ``html``.
        report: is told what happens.

    Raises:
        MssctlError: no such model or device (exit 3); no tracks, audio that does not fit the
            model, unequal lengths, damaged audio, or nothing but silence (exit 4); ``out`` or
            ``html`` hold something else (exit 2).
    """
    check_numbers(segment, overlap, batch)
    _check_choice(name, estimates, oracle, reference, musdb)
    shortest, longest = bounds.FRAME_SECONDS
    if not (shortest <= frames.window <= longest and shortest <= frames.hop <= longest):
        raise MssctlError(
            f"--window and --hop: seconds from {shortest:g} to {longest:g}",
            exit_code=ExitCode.USAGE,
        )
    if keep_stems and (out is None or estimates is not None or oracle is not None):
        raise MssctlError(
            "--keep-stems writes the stems of a model below --out",
            hint="name a folder with --out, and a model with --name",
            exit_code=ExitCode.USAGE,
        )
    if html is not None and out is None:
        raise MssctlError(
            "--report is made from the folder of the evaluation",
            hint="name one with --out",
            exit_code=ExitCode.USAGE,
        )
    asked, framewise = chosen([metrics] if isinstance(metrics, str) else metrics)
    of_a_model = (device, dtype, segment, overlap, batch) != ("auto", "auto", None, None, None)
    _refuse_silent(
        {"--device, --dtype, --segment, --overlap and --batch": of_a_model},
        unless=estimates is None and oracle is None,
        purpose="a model",
    )
    _refuse_silent(
        {"--engine museval": engine == "museval", "--no-round16": not frames.grid16},
        unless=framewise,
        purpose="--metrics bsseval",
    )
    _refuse_silent(
        {"--split": split is not None, "--force": force},
        unless=musdb is not None,
        purpose="--musdb",
    )
    split = split or "test"
    scoring = Scoring(asked, framewise, frames.window, frames.hop, frames.grid16, engine)
    if musdb is not None:
        tracks, notes = find_musdb(Path(musdb), split)
    else:
        assert reference is not None
        tracks, notes = find_tracks(Path(reference))
    if estimates is not None or oracle is not None:
        plan = without_model(estimates, oracle, tracks, notes)
    else:
        plan = with_model(
            name or "starter", tracks, notes, device, dtype, segment, overlap, batch, report
        )
    if musdb is not None:
        card = plan.source.model.card if isinstance(plan.source, FromModel) else {}
        marks = guard(plan.source.name, card, split=split, force=force)
        plan = replace(plan, marks=marks)
    where = {"musdb": f"MUSDB18 {split}"} if musdb is not None else {}
    provenance = _passport(plan, scoring, where)
    kinds = [kind for kind, wanted in (("stems", keep_stems), ("excerpts", html)) if wanted]
    store = Store(
        None if out is None else Path(out), provenance, plan.source.mark, overwrite=overwrite
    )
    for note in store.check(plan.tracks, kinds, None if html is None else Path(html)):
        report(Notice(note, level="warning"))
    documents = _score_all(plan, scoring, store, jobs, memory, kinds, report)
    result = result_of(
        plan, scoring, documents, provenance, str(musdb or reference), out, per_track
    )
    if out is not None:
        tables = {
            "summary.json": as_text(asdict(result)),
            "scores.csv": as_csv(result, documents),
            "scores.md": as_markdown(result),
        }
        store.finish(plan.tracks, kinds, tables)
    if html is not None and out is not None:
        pictures = {name: marked(text, provenance) for name, text in plots(Path(out)).items()}
        store.write_page(Path(html), marked(report_page(Path(out)), provenance), pictures)
    return result


def _check_choice(
    name: str | None,
    estimates: Path | str | None,
    oracle: str | None,
    reference: Path | str | None,
    musdb: Path | str | None,
) -> None:
    if sum(given is not None for given in (name, estimates, oracle)) > 1:
        raise MssctlError(
            "a folder of estimates, --name and --oracle exclude each other",
            hint="mssctl eval compare sets the results of several beside each other",
            exit_code=ExitCode.USAGE,
        )
    if (reference is None) == (musdb is None):
        raise MssctlError(
            "one of --reference DIR and --musdb DIR says what is true",
            exit_code=ExitCode.USAGE,
        )


def _refuse_silent(given: Mapping[str, bool], *, unless: bool, purpose: str) -> None:
    """Options that would do nothing."""
    for name, there in given.items():
        if there and not unless:
            raise MssctlError(f"{name}: only with {purpose}", exit_code=ExitCode.USAGE)


def _passport(plan: Plan, scoring: Scoring, where: Mapping[str, str]) -> dict[str, Any]:
    """What the scores depend on, beside the audio."""
    framewise = (
        passport(scoring.window, scoring.hop, scoring.grid16, scoring.engine)
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


def _score_all(
    plan: Plan,
    scoring: Scoring,
    store: Store,
    jobs: int | None,
    memory: float | None,
    kinds: Sequence[str],
    report: Reporter,
) -> list[Document]:
    """The document of each track, from the store or computed."""
    total, seconds, started = len(plan.tracks), [0.0], time.perf_counter()
    documents: list[Document] = []
    known: dict[str, Document] = {}
    report(Progress("eval", 0, total, "tracks"))

    def submit(pool: Executor, track: ReferenceTrack) -> Future[Document]:
        found = store.find(track, kinds)
        if found is not None:
            return _ready(known.setdefault(track.name, found))
        folders = store.begin(track, kinds)
        heard, name = folders.get("excerpts"), track.name
        if not plan.separates:
            given = track, plan.source, plan.audio, scoring, heard
            return pool.submit(scored, name, _from_files, *given)
        try:
            audio, estimates = _separated(track, plan)
        except MssctlError as error:
            return _ready(unscored(name, error))
        assert audio.mixture is not None
        seconds[0] += audio.mixture.shape[-1] / audio.rate
        if "stems" in folders:
            _write_stems(folders["stems"], estimates, audio.rate)
        if heard is not None:
            write_excerpt(heard, audio, estimates)
        return pool.submit(scored, name, document, name, audio, estimates, (), scoring)

    def done(track: ReferenceTrack, made: Document) -> Document:
        return made if track.name in known else store.keep(track, made)

    try:
        for made in in_order(plan.tracks, submit, _jobs(plan, jobs, memory), done):
            documents.append(made)
            _warn(made, report)
            rate = seconds[0] / (time.perf_counter() - started) if seconds[0] else None
            report(Progress("eval", len(documents), total, "tracks", rate, "x real time"))
    finally:
        store.close()
    return documents


def _warn(made: Document, report: Reporter) -> None:
    for failed in made.get("failures", ()):
        report(Notice(f"{failed['path']} failed: left out", level="warning"))


def _ready(made: Document) -> Future[Document]:
    future: Future[Document] = Future()
    future.set_result(made)
    return future


def _separated(track: ReferenceTrack, plan: Plan) -> tuple[ReferenceAudio, dict[str, Array]]:
    """Read a track, and split its mixture."""
    if track.packed is not None:  # the others were checked before
        track = track.unpacked()
        check(track, model=plan.source.name, audio=plan.audio)
    audio = read(track, plan.source.stems)
    return audio, plan.source.of(track, audio).stems


def _from_files(
    track: ReferenceTrack,
    source: Estimates,
    audio: AudioConfig,
    scoring: Scoring,
    heard: Path | None,
) -> Document:
    """Read a track and its estimates, and score them."""
    if track.packed is not None:  # the others were checked before
        track = track.unpacked()
        check(track, model=source.name, audio=audio, add_up=False)
    truth = read(track, audio.stems, add_up=False)
    found = source.of(track, truth)
    if heard is not None:
        write_excerpt(heard, truth, found.stems)
    odd = [f"estimate {note}" for note in found.notes]
    truth = replace(truth, notes=(*truth.notes, *odd))
    return document(
        track.name, truth, found.stems, found.left_out, scoring, failures=found.failures
    )


def _write_stems(folder: Path, estimates: Mapping[str, Array], rate: int) -> None:
    """Write the stems as float WAVE files."""
    for stem, audio in estimates.items():
        with AtomicWriter(folder / f"{stem}.wav", rate, len(audio), subtype="FLOAT") as file:
            file.write(audio.astype("float32", copy=False))


def _jobs(plan: Plan, jobs: int | None, memory: float | None) -> int:
    lengths = [track.samples(plan.source.stems) for track in plan.tracks]
    return min(jobs_within(jobs, memory, max(lengths)), len(plan.tracks))
