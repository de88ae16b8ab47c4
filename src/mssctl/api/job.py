"""``mssctl job``: a catalogue of songs as a job, worked through by any number of processes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mssctl.catalogue import status as progress
from mssctl.catalogue.engines import run_devices
from mssctl.catalogue.job import (
    Job,
    JobSong,
    levels_for,
    read_job,
    settings_of,
    versions,
    write_job,
)
from mssctl.catalogue.run import is_done
from mssctl.catalogue.shard import parse_shard, unused_variables
from mssctl.catalogue.stores import is_url, listed
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter, silent
from mssctl.files import refuse_existing, sha256
from mssctl.hub.pull import Confirm, nobody
from mssctl.hub.state import default_model
from mssctl.options.base import refuse
from mssctl.options.job import JobRunOptions
from mssctl.options.separate import SeparateOptions
from mssctl.results.common import FileFailure
from mssctl.results.job import JobMakeResult, JobRetryResult, JobRunResult, JobStatusResult
from mssctl.separation.inputs import find_songs
from mssctl.separation.open_model import find_model
from mssctl.separation.prepare import model_names, song_separation

_FIXED = (
    "device",
    "filename",
    "existing",
    "fail_fast",
    "ensemble",
    "weights",
    "stem_model",
    "page",
)


def make(
    job: Path | str,
    songs: Sequence[Path | str],
    options: SeparateOptions | None = None,
    *,
    confirm: Confirm = nobody,
    report: Reporter = silent,
    **changes: Any,
) -> JobMakeResult:
    """Write a job: its settings and its songs.

    Args:
        job: folder to make.
        songs: files, folders, patterns and URLs.
        options: of the separation; outputs go to ``JOB/stems`` where they name no folder.
        confirm: see `mssctl.separate`.
        report: receives events.
        changes: fields of `SeparateOptions`, instead of those in ``options``.

    Raises:
        MssctlError: the job exists, an option means nothing in a job, a song or the model is not
            there; nothing is written then.
    """
    given = SeparateOptions.given(options, changes)
    folder = Path(job)
    refuse_existing(folder, hint="a job is made once: `mssctl job run` continues it")
    refuse(given, "a job: see `mssctl job run --help`, and its fixed layout", _FIXED)
    names = model_names(given)
    if len(names) > 1:
        raise MssctlError("a job has one model", exit_code=ExitCode.USAGE)
    name = names[0] or default_model()
    model = find_model(
        name, "cpu", accept_license=given.accept_license, confirm=confirm, report=report
    )
    song_separation(given, [model], Path())  # what cannot be is refused here, not in every worker
    settings = settings_of(given) | {"name": str(Path(name).absolute()) if _is_file(name) else name}
    out = "stems" if given.out is None else str(given.out)
    if given.out is not None and not is_url(out):
        out = str(Path(out).absolute())
    found = list({song.id: song for song in _songs(songs, Path(out))}.values())
    made = Job(folder, settings, sha256(model.path), out, levels_for(len(found)), versions())
    write_job(made, found)
    size = sum(song.size or 0 for song in found)
    checks = made.model_sha256, made.settings_hash
    return JobMakeResult(str(folder), len(found), size, model.name, *checks, out)


def run(
    job: Path | str,
    options: JobRunOptions | None = None,
    *,
    report: Reporter = silent,
    **changes: Any,
) -> JobRunResult:
    """Give every song of a job, or of a share of it, its final row.

    May be started again at any time, and by several processes: what is done is not done again.

    Args:
        job: its folder.
        options: which share, and where; the defaults if None.
        report: receives events.
        changes: fields of `JobRunOptions`, instead of those in ``options``.

    Raises:
        MssctlError: no such job, share, model or device, or they are not the job's (exit 2, 3).
    """
    given = JobRunOptions.given(options, changes)
    found = read_job(Path(job))
    if given.engine == "ray":
        refuse(given, "engine=ray: Ray divides the songs", ["shard"])
    shard = parse_shard(given.shard) if given.shard else None
    if shard and shard.source:
        report(Notice(f"share {shard} from {shard.source}"))
    elif not shard and (family := unused_variables()):
        report(Notice(f"variables of {family} are not used: `shard=auto` reads them"))
    if found.versions != versions():
        report(Notice(f"the job was made with {found.versions}, this is {versions()}"))
    share, final = run_devices(found, shard, given, report)
    failures = [
        FileFailure(song.path, row["message"], "`mssctl job retry` gives it another round", 4)
        for song in share
        if (row := final[song.id]) and not is_done(row)
    ]
    done = len(share) - len(failures)
    return JobRunResult(str(job), str(shard) if shard else None, done, failures)


def status(job: Path | str) -> JobStatusResult:
    """How far a job is.

    Raises:
        MssctlError: there is no such job (exit 3).
    """
    return progress.status(read_job(Path(job)))


def retry(job: Path | str) -> JobRetryResult:
    """Give the songs that failed or are set aside another round.

    Raises:
        MssctlError: there is no such job (exit 3).
    """
    return progress.retry(read_job(Path(job)))


def _is_file(name: str) -> bool:
    return name.endswith(".safetensors") and Path(name).exists()


def _songs(arguments: Sequence[Path | str], out: Path) -> Iterator[JobSong]:
    """The songs that arguments mean.

    Raises:
        MssctlError: one leads to none.
    """
    for argument in map(str, arguments):
        if argument in ("", "-"):
            raise MssctlError(
                f"'{argument}': a job takes files, folders, patterns and URLs",
                exit_code=ExitCode.USAGE,
            )
        if is_url(argument):
            yield from (JobSong.of(url, size) for url, size in listed(argument))
            continue
        found, problems = find_songs([argument], out)
        for _, error in problems:
            raise error
        for song in found:
            path = song.path.absolute()
            try:
                yield JobSong.of(str(path), path.stat().st_size)
            except OSError as error:
                raise MssctlError(f"{path}: cannot be read: {error.strerror}") from None
