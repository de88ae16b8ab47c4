"""How far a job is, and another round for songs that failed: rows are read and appended only."""

import time

from mssctl.catalogue.job import Job
from mssctl.catalogue.rows import DONE, ENDED, RETRY, WORKER, Row, RowFile, merged
from mssctl.results.job import JobRetryResult, JobStatusResult, SetAside

_SILENT = 3600.0  # seconds without a row after which a worker counts as gone


def status(job: Job, now: float | None = None) -> JobStatusResult:
    """How far a job is, at ``now`` (seconds since 1970)."""
    rows, songs = job.rows(), list(job.songs())
    standing = merged(rows)
    known = [(song, standing[song.id]) for song in songs if song.id in standing]
    final = [(song, found.final) for song, found in known if found.final]
    done = [row for _, row in final if row["status"] == DONE]
    pending = len(songs) - len(final)
    # Actors of Ray are ended without a row that says so.
    rates = _rates(rows, time.time() if now is None else now) if pending else []
    rate = sum(rates) or None
    return JobStatusResult(
        job=str(job.folder),
        songs=len(songs),
        done=len(done),
        failed=sum(not found.final and found.attempts > 0 for _, found in known),
        audio_hours=sum(row["audio_seconds"] for row in done) / 3600,
        workers=len(rates),
        songs_per_hour=rate,
        eta_hours=pending / rate if rate else None,
        missing_shards=_missing(rows),
        set_aside=[
            SetAside(song.id, song.path, row["error"], row["message"], row["attempt"])
            for song, row in final
            if row["status"] != DONE
        ],
    )


def retry(job: Job) -> JobRetryResult:
    """Give the songs that failed or are set aside another round; their rows stay."""
    standing = merged(job.rows())
    songs = [
        song.id
        for song in job.songs()
        if (found := standing.get(song.id)) and (found.attempts or found.final)
        if not (found.final and found.final["status"] == DONE)
    ]
    if songs:
        RowFile(job.results).append(RETRY, songs=songs)
    return JobRetryResult(str(job.folder), len(songs))


def _rates(rows: list[Row], now: float) -> list[float]:
    """Songs per hour of each worker that is at work."""
    workers: dict[str, list[Row]] = {}
    for row in rows:
        workers.setdefault(row["worker"], []).append(row)
    rates = []
    for own in workers.values():
        first, last = own[0], own[-1]
        if first["status"] != WORKER or last["status"] == ENDED or now - last["time"] > _SILENT:
            continue
        done = sum(row["status"] == DONE for row in own)
        rates.append(3600 * done / max(now - first["time"], 1.0))
    return rates


def _missing(rows: list[Row]) -> list[str]:
    """Shares of the newest division without a worker."""
    shards = [row["shard"] for row in rows if row["status"] == WORKER]
    if not shards:
        return []
    count = shards[-1].partition("/")[2]
    return [one for i in range(int(count)) if (one := f"{i}/{count}") not in shards]
