"""Scores the tracks of an evaluation: in parallel, and only those that are not scored yet."""

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mssctl.audio.encoding import WAV_FLOAT
from mssctl.audio.writer import AtomicWriter
from mssctl.config.schema import AudioConfig
from mssctl.data.songs import SongFiles
from mssctl.errors import MssctlError
from mssctl.evaluation.bsseval import MEMORY
from mssctl.evaluation.documents import Document, packed
from mssctl.evaluation.estimates import Estimates, Found
from mssctl.evaluation.excerpts import write_excerpt
from mssctl.evaluation.metrics.sdr import Array
from mssctl.evaluation.references import ReferenceAudio, check, read, samples
from mssctl.evaluation.request import Plan
from mssctl.evaluation.scoring import Scoring, document
from mssctl.evaluation.store import Store
from mssctl.events import Notice, Progress, Reporter
from mssctl.failures import failure
from mssctl.hardware import machine
from mssctl.hardware.processes import serve, start_tracker

_PROCESS = 600 << 20  # bytes of a process with torch loaded


def score_all(
    plan: Plan, scoring: Scoring, store: Store, jobs: int, report: Reporter
) -> list[Document]:
    """The document of each track, from the store or computed.

    Args:
        plan: whose estimates of which tracks.
        scoring: what is computed.
        store: where documents are kept, each when its track is scored, with its stems and excerpts.
        jobs: tracks scored at once; 1 works in this process.
        report: receives events, in the order of the tracks.
    """
    total, seconds, started = len(plan.tracks), 0.0, time.perf_counter()
    documents: list[Document] = []
    ready: dict[int, Document] = {}
    running: dict[Future[Document], int] = {}
    pool = _InThisProcess() if jobs == 1 else _processes(jobs)

    def collect() -> None:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            number, made = running.pop(future), future.result()
            known = "provenance" in made
            ready[number] = made if known else store.keep(plan.tracks[number], made)
        while len(documents) in ready:
            documents.append(ready.pop(len(documents)))
            for failed in documents[-1].get("failures", ()):
                report(Notice(f"{failed['path']} failed: left out", level="warning"))
            rate = seconds / (time.perf_counter() - started) if seconds else None
            report(Progress("eval", len(documents), total, "tracks", rate, "x real time"))

    report(Progress("eval", 0, total, "tracks"))
    try:
        for number, track in enumerate(plan.tracks):
            known = store.find(track)
            folders = {} if known else store.begin(track)
            if known:
                running[_InThisProcess().submit(dict, known)] = number
            elif not plan.source.separates:
                given = track, plan.source, plan.audio, scoring, folders.get("excerpts")
                running[pool.submit(_scored, track.name, _from_files, *given)] = number
            else:
                future, length = _separate(track, plan, scoring, folders, pool)
                running[future] = number
                seconds += length
            if len(running) >= jobs:
                collect()
        while running:
            collect()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        store.close()
    return documents


def jobs_within(jobs: int | None, memory: float | None, plan: Plan) -> int:
    """How many tracks to score at once.

    Args:
        jobs: asked for; None: one for every two cores, as scoring a track uses two.
        memory: GiB that all of them may take; None: four fifths of what is free.
        plan: the tracks, of which the longest counts.
    """
    longest = max(samples(track, plan.source.stems) for track in plan.tracks)
    wanted = min(jobs or max(1, int(machine.cores()) // 2), len(plan.tracks))
    limit = 0.8 * machine.memory().available if memory is None else memory * machine.GIB
    each = _PROCESS + MEMORY + longest * 2 * (4 + 8)  # both signals, float32 and float64
    return max(1, int(min(wanted, limit // each)))


def _separate(
    track: SongFiles, plan: Plan, scoring: Scoring, folders: Mapping[str, Path], pool: Executor
) -> tuple[Future[Document], float]:
    """Separate a track in this process, and score it in another; with its seconds."""
    try:
        audio, found = _estimated(track, plan.source, plan.audio)
    except MssctlError as error:
        return _InThisProcess().submit(_unscored, track.name, error), 0.0
    assert audio.mixture is not None
    if "stems" in folders:
        _write_stems(folders["stems"], found.stems, audio.rate)
    if "excerpts" in folders:
        write_excerpt(folders["excerpts"], audio, found.stems)
    future = pool.submit(_scored, track.name, document, track.name, audio, found, scoring)
    return future, audio.mixture.shape[-1] / audio.rate


def _from_files(
    track: SongFiles,
    source: Estimates,
    form: AudioConfig,
    scoring: Scoring,
    excerpts: Path | None,
) -> Document:
    """Read a track and its estimates, and score them."""
    audio, found = _estimated(track, source, form)
    if excerpts is not None:
        write_excerpt(excerpts, audio, found.stems)
    return document(track.name, audio, found, scoring)


def _estimated(
    track: SongFiles, source: Estimates, form: AudioConfig
) -> tuple[ReferenceAudio, Found]:
    """Read a track, and separate or read its estimates."""
    add_up = source.separates
    if track.packed is not None:  # the others were checked before
        track = track.unpacked()
        check(track, model=source.name, audio=form, add_up=add_up)
    audio = read(track, source.stems, add_up=add_up)
    return audio, source.of(track, audio)


def _scored(track: str, work: Callable[..., Document], *arguments: Any) -> Document:
    """``work(*arguments)``, or the document of a track that could not be scored."""
    try:
        return work(*arguments)
    except MssctlError as error:
        return _unscored(track, error)


def _unscored(track: str, error: MssctlError) -> Document:
    """The document of a track that could not be scored, and why."""
    failed = failure(track, error)
    return {
        "track": track,
        "scored_together": [],
        "references_sha256": {},
        "failures": [asdict(failed)],
        **packed([], [f"{track}: {failed.error}"]),
    }


def _write_stems(folder: Path, estimates: Mapping[str, Array], rate: int) -> None:
    """Write the stems as float WAVE files."""
    for stem, audio in estimates.items():
        with AtomicWriter(folder / f"{stem}.wav", rate, len(audio), WAV_FLOAT) as file:
            file.write(audio.astype("float32", copy=False))


def _processes(jobs: int) -> Executor:
    start_tracker()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, serve, (os.getpid(),))


class _InThisProcess(Executor):
    """Does the work at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``fn``; its errors are raised here, too."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future
