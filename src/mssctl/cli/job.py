"""``mssctl job``: many songs, by any number of processes."""

from pathlib import Path
from typing import Annotated

import typer

from mssctl.cli.command import command
from mssctl.cli.render import aligned, count
from mssctl.cli.separate import Songs
from mssctl.cli.session import Session
from mssctl.cli.streams import escaped
from mssctl.options.base import Options
from mssctl.options.job import JobRunOptions
from mssctl.options.separate import SeparateOptions
from mssctl.results.job import JobMakeResult, JobRetryResult, JobRunResult, JobStatusResult

JobFolder = Annotated[
    Path, typer.Argument(help="Folder of the job.", metavar="JOB", show_default=False)
]


@command(SeparateOptions)
def make_command(ui: Session, options: SeparateOptions, *, job: JobFolder, songs: Songs) -> None:
    """Write a job: the settings and the list of songs.

    SONGS may be URLs that fsspec reads, and so may --out; it is JOB/stems if left out. --device,
    --filename, --overwrite, --skip-existing and --fail-fast do nothing in a job and are refused.
    """
    from mssctl.api.job import make

    ui.show(make(job, songs, options, confirm=ui.confirm, report=ui.report), make_text)


@command(JobRunOptions)
def run_command(ui: Session, options: JobRunOptions, *, job: JobFolder) -> None:
    """Work through a job, or through a share of it.

    Start it again after whatever ended it: songs that are done are not done again.
    """
    from mssctl.api.job import run

    ui.show(run(job, options, report=ui.report), run_text)


@command(Options)
def status_command(ui: Session, options: Options, *, job: JobFolder) -> None:  # noqa: ARG001
    """Show how far a job is, over all its workers."""
    from mssctl.api.job import status

    ui.show(status(job), status_text)


@command(Options)
def retry_command(ui: Session, options: Options, *, job: JobFolder) -> None:  # noqa: ARG001
    """Give songs that failed or are set aside another round; `job run` does it."""
    from mssctl.api.job import retry

    ui.show(retry(job), retry_text)


def make_text(result: JobMakeResult) -> str:
    """What the job holds."""
    rows = [
        ["job", escaped(result.job)],
        ["songs", f"{result.songs}, {result.bytes / 1e9:.3f} GB"],
        ["model", f"{result.model}, sha256 {result.model_sha256[:12]}"],
        ["outputs", escaped(result.out)],
    ]
    return aligned(["", ""], rows)


def run_text(result: JobRunResult) -> str:
    """What became of the share."""
    share = f", share {result.shard}" if result.shard else ""
    return f"{escaped(result.job)}{share}: {count(result.songs, 'song')} done\n"


def status_text(result: JobStatusResult) -> str:
    """Progress, rate, and what needs a look."""
    rate = f"{result.songs_per_hour:.1f} per hour" if result.songs_per_hour else "no rate yet"
    left = f", {result.eta_hours:.1f} h to go" if result.eta_hours is not None else ""
    rows = [
        ["done", f"{result.done} of {count(result.songs, 'song')}, {result.audio_hours:.2f} h"],
        ["begun or failed", str(result.failed)],
        ["set aside", str(len(result.set_aside))],
        ["workers", f"{result.workers}, {rate}{left}"],
        ["never reported", ", ".join(result.missing_shards) or "none"],
    ]
    aside = "".join(
        f"  {escaped(one.path)}: {escaped(one.message)} ({count(one.attempts, 'attempt')})\n"
        for one in result.set_aside
    )
    return aligned(["", ""], rows) + aside


def retry_text(result: JobRetryResult) -> str:
    """How many songs."""
    return f"{escaped(result.job)}: {count(result.songs, 'song')} for another round\n"
