"""From the audio of a track to its document of scores; and that for many tracks in parallel."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from mssctl.errors import MssctlError
from mssctl.evaluation.bsseval import MEMORY, TAPS
from mssctl.evaluation.bsseval.frames import score_frames
from mssctl.evaluation.documents import Document, packed
from mssctl.evaluation.estimates import content_hashes
from mssctl.evaluation.metrics.sdr import Array
from mssctl.evaluation.references import ReferenceAudio
from mssctl.evaluation.scores import score_track
from mssctl.evaluation.sums import sums
from mssctl.failures import failure
from mssctl.hardware import machine
from mssctl.hardware.processes import serve, start_tracker
from mssctl.options.evaluate import Engine
from mssctl.results.common import FileFailure
from mssctl.results.evaluate import StemScore

Given = TypeVar("Given")

_PROCESS = 600 << 20  # bytes of a process with torch loaded


@dataclass(frozen=True)
class Scoring:
    """What is measured: metrics by name, BSSEval or not, its frames in seconds, and by what."""

    metrics: Sequence[str]
    bsseval: bool
    window: float
    hop: float
    grid16: bool
    engine: Engine = "mssctl"


def document(
    track: str,
    audio: ReferenceAudio,
    estimates: Mapping[str, Array],
    left_out: Sequence[str],
    scoring: Scoring,
    failures: Sequence[FileFailure] = (),
) -> Document:
    """Score a track: ``scores``, ``skipped``, with BSSEval ``targets`` in museval's form.

    ``failures`` are the files of estimates that cannot be read; without any there is no such key.

    Raises:
        MssctlError: audio of unequal shape or with NaN, or museval is asked for and missing.
    """
    true = {stem: audio.stems[stem] for stem in estimates if stem in audio.stems}
    apart = sums(true)
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
    scored = [item.stem for item in scores]
    made: Document = {
        "track": track,
        "scored_together": [stem for stem in scored if stem not in apart],
        "sums": {stem: list(parts) for stem, parts in apart.items()},
        "notes": [
            *audio.notes,
            *(
                f"{stem} is the sum of {', '.join(parts)}: it is not scored as a source "
                "with them (no cSDR, no BSSEval) and is left out of the mean over stems"
                for stem, parts in apart.items()
            ),
        ],
        "references_sha256": content_hashes({stem: audio.stems[stem] for stem in scored}),
        "estimates_sha256": content_hashes({stem: estimates[stem] for stem in scored}),
    }
    if scoring.bsseval and scores:
        together = [item for item in scores if item.stem not in apart]
        frames, reasons = _bsseval(track, together, audio, estimates, scoring)
        made |= frames
        skipped += reasons
    if failures:
        made["failures"] = [asdict(item) for item in failures]
    return {**made, **packed(scores, [*left_out, *skipped])}


def scored(track: str, score: Callable[..., Document], *arguments: Any) -> Document:
    """``score(*arguments)``, or the document of a track that could not be scored."""
    try:
        return score(*arguments)
    except MssctlError as error:
        return unscored(track, error)


def unscored(track: str, error: MssctlError) -> Document:
    """The document of a track that could not be scored, and why."""
    failed = failure(track, error)
    return {
        "track": track,
        "scored_together": [],
        "references_sha256": {},
        "failures": [asdict(failed)],
        **packed([], [f"{track}: {failed.error}"]),
    }


def _bsseval(
    track: str,
    scores: Sequence[StemScore],
    audio: ReferenceAudio,
    estimates: Mapping[str, Array],
    scoring: Scoring,
) -> tuple[dict[str, Any], list[str]]:
    """The frames, and the stems that BSSEval is not defined for, each with its reason."""
    skipped: list[str] = []
    true: dict[str, Array] = {}
    for item in scores:
        if np.any(estimates[item.stem].sum(axis=0)):  # museval's rule
            true[item.stem] = audio.stems[item.stem]
        else:
            skipped.append(f"{track}: {item.stem}: the estimate is silent: no BSSEval")
    length = next(iter(audio.stems.values())).shape[-1]
    if length < TAPS:
        return {}, [f"{track}: {length} samples, fewer than the {TAPS} taps: no BSSEval"]
    if not true:
        return {}, skipped
    try:
        frames = score_frames(
            true,
            dict(estimates),
            rate=audio.rate,
            window=scoring.window,
            hop=scoring.hop,
            grid16=scoring.grid16,
            engine=scoring.engine,
        )
    except ValueError as error:
        raise MssctlError(f"{track}: BSSEval: {error}") from None
    return frames, skipped


def jobs_within(jobs: int | None, memory: float | None, samples: int) -> int:
    """How many tracks to score at once.

    Args:
        jobs: asked for; None: one for every two cores, as scoring a track uses two.
        memory: GiB that all of them may take; None: four fifths of what is free.
        samples: of the longest track: stems times channels times its length.
    """
    wanted = jobs or max(1, int(machine.cores()) // 2)
    limit = 0.8 * machine.memory().available if memory is None else memory * machine.GIB
    each = _PROCESS + MEMORY + samples * 2 * (4 + 8)  # both signals, float32 and float64
    return max(1, int(min(wanted, limit // each)))


def in_order(
    given: Sequence[Given],
    submit: Callable[[Executor, Given], Future[Document]],
    jobs: int,
    done: Callable[[Given, Document], Document],
) -> Iterator[Document]:
    """A document for each of ``given``, in order; at most ``jobs`` at work at a time.

    Args:
        given: tracks.
        submit: starts the work on one of them.
        jobs: processes; 1 works in this one.
        done: is called with each as soon as it is there, in any order; gives what is yielded.
    """
    ready: dict[int, Document] = {}
    running: dict[Future[Document], int] = {}
    pool: Executor = _Here() if jobs == 1 else _processes(jobs)
    following = 0
    try:
        for number, item in enumerate(given):
            running[submit(pool, item)] = number
            if len(running) >= jobs:
                _collect(running, ready, given, done)
            while following in ready:
                yield ready.pop(following)
                following += 1
        while running:
            _collect(running, ready, given, done)
        for number in range(following, len(given)):
            yield ready[number]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _collect(
    running: dict[Future[Document], int],
    ready: dict[int, Document],
    given: Sequence[Given],
    done: Callable[[Given, Document], Document],
) -> None:
    finished, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in finished:
        number = running.pop(future)
        ready[number] = done(given[number], future.result())


def _processes(jobs: int) -> ProcessPoolExecutor:
    start_tracker()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, serve, (os.getpid(),))


class _Here(Executor):
    """Does the work at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``fn``; its errors are raised here, too."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future
