"""Work through a share of a job in this process."""

import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from mssctl.catalogue.job import Job, JobSong
from mssctl.catalogue.rows import (
    DONE,
    DROPPED,
    ENDED,
    FAILED,
    SET_ASIDE,
    STARTED,
    WORKER,
    Row,
    RowFile,
    Standing,
    merged,
)
from mssctl.catalogue.shard import Shard
from mssctl.catalogue.stores import discard
from mssctl.catalogue.worker import Worker
from mssctl.errors import MssctlError
from mssctl.events import Notice, Progress, Reporter
from mssctl.failures import failure

_KILLED = {"error": "Killed", "message": "the process ended in this song"}


class Attempts:
    """Separates songs with a worker, and writes every attempt down before it begins.

    Args:
        worker: does the work.
        rows: the file of this process.
        limit: attempts before a song is set aside.
        report: receives events.
    """

    def __init__(self, worker: Worker, rows: RowFile, limit: int, report: Reporter) -> None:
        self._worker, self._rows, self._limit, self._report = worker, rows, limit, report

    def final(self, song: JobSong, standing: Standing, source: Path | None) -> Row | None:
        """One attempt; the final row, or None if the song may be tried again."""
        if row := self._worker.done(song):
            return self._rows.append(**{**row, "attempt": standing.attempts})
        if standing.attempts >= self._limit:
            return self._set_aside(song, standing)
        standing.attempts += 1
        attempt = {"song": song.id, "attempt": standing.attempts}
        self._rows.append(STARTED, **attempt)
        try:
            row = self._worker.separate_song(song, source)
            return self._rows.append(**{**row, **attempt})
        except KeyboardInterrupt:
            self._rows.append(DROPPED, **attempt)
            raise
        except Exception as error:  # noqa: BLE001 (the other songs are still separated)
            if not isinstance(error, MssctlError | OSError | MemoryError):
                self._report(Notice(traceback.format_exc(), level="warning"))
            failed = failure(song.path, error)
            words = {"error": type(error).__name__, "message": failed.error}
            standing.failed = self._rows.append(FAILED, **attempt, **words)
        return self._set_aside(song, standing) if standing.attempts >= self._limit else None

    def _set_aside(self, song: JobSong, standing: Standing) -> Row:
        last = standing.failed
        known = last and last["attempt"] == standing.attempts
        words = {name: last[name] for name in _KILLED} if last and known else _KILLED
        self._report(Notice(f"{song.path} is set aside: {words['message']}", level="warning"))
        return self._rows.append(SET_ASIDE, song=song.id, attempt=standing.attempts, **words)


def run_share(
    job: Job, shard: Shard | None, device: str, attempts: int, report: Reporter
) -> tuple[list[JobSong], dict[str, Row]]:
    """Give every song of a share its final row.

    Returns:
        The songs of the share, and their final rows by id.

    Raises:
        MssctlError: the model or the device is not there, or not the job's (exit 3).
        KeyboardInterrupt: the song in work is dropped.
    """
    share = [song for song in job.songs() if shard is None or shard.has(song.id)]
    standing = merged(job.rows())
    known = {song.id: standing.get(song.id, Standing()) for song in share}
    final = {one: found.final for one, found in known.items() if found.final}
    worker = Worker(job, device, report)
    rows = RowFile(job.results)
    rows.append(WORKER, shard=str(shard or "0/1"), device=worker.device, songs=len(share))
    trying = Attempts(worker, rows, attempts, report)
    # A song that may have ended a process waits until the others are done.
    pending = [song for song in share if song.id not in final]
    pending.sort(key=lambda song: known[song.id].attempts)
    while pending:
        again = []
        for song, source in _staged(worker, pending):
            row = trying.final(song, known[song.id], source)
            if row is None:
                again.append(song)
            else:
                final[song.id] = row
                report(Progress("songs", len(final), len(share), "songs"))
        pending = again
    rows.append(ENDED)
    return share, final


def _staged(worker: Worker, songs: Sequence[JobSong]) -> Iterator[tuple[JobSong, Path | None]]:
    """Each song with its file, staged in while the one before it is in work.

    None where that failed: the attempt tries again, and fails with a row.
    """
    with ThreadPoolExecutor(1, "prefetch") as pool:
        ahead: Future[tuple[Path, Path]] | None = None
        try:
            for index, song in enumerate(songs):
                current = ahead or pool.submit(worker.fetch, song)
                following = songs[index + 1 : index + 2]
                ahead = None
                folder, source = _result(current)
                if following:
                    ahead = pool.submit(worker.fetch, following[0])
                try:
                    yield song, source
                finally:
                    if folder:
                        discard(folder)
        finally:
            if ahead and (left := _result(ahead)[0]):
                discard(left)


def _result(future: Future[tuple[Path, Path]]) -> tuple[Path | None, Path | None]:
    try:
        return future.result()
    except (MssctlError, OSError):
        return None, None


def is_done(row: Row | None) -> bool:
    """Whether a final row is that of complete outputs."""
    return row is not None and row["status"] == DONE
