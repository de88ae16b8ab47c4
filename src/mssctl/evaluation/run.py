"""Scores the tracks of an evaluation: in parallel, and only those that are not scored yet."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path

from mssctl.audio.writer import AtomicWriter
from mssctl.config.schema import AudioConfig
from mssctl.errors import MssctlError
from mssctl.evaluation.documents import Document
from mssctl.evaluation.estimates import Estimates
from mssctl.evaluation.excerpts import write_excerpt
from mssctl.evaluation.metrics.sdr import Array
from mssctl.evaluation.references import ReferenceAudio, ReferenceTrack, check, read
from mssctl.evaluation.request import Plan
from mssctl.evaluation.scoring import Scoring, document, in_order, scored, unscored
from mssctl.evaluation.store import Store
from mssctl.events import Notice, Progress, Reporter


def score_all(
    plan: Plan, scoring: Scoring, store: Store, kinds: Sequence[str], jobs: int, report: Reporter
) -> list[Document]:
    """The document of each track, from the store or computed.

    Args:
        plan: whose estimates of which tracks.
        scoring: what is computed.
        store: where documents are kept.
        kinds: of files that are kept beside them: ``stems``, ``excerpts``.
        jobs: tracks scored at once.
        report: receives events.
    """
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
        for made in in_order(plan.tracks, submit, jobs, done):
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
