"""Where the workers of a job run: in this process, in one process per device, or in Ray."""

import signal
import subprocess
import sys
from collections.abc import Sequence

import torch

from mssctl.catalogue.job import Job, JobSong
from mssctl.catalogue.rows import Row, merged
from mssctl.catalogue.run import run_share
from mssctl.catalogue.shard import Shard
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter
from mssctl.options.job import JobRunOptions

Share = tuple[list[JobSong], dict[str, Row]]


def run_devices(job: Job, shard: Shard | None, given: JobRunOptions, report: Reporter) -> Share:
    """Give every song of a share its final row, on all devices that are asked for.

    Raises:
        MssctlError: see `run_share`; or a process of several failed (exit 3).
    """
    if given.engine == "ray":
        from mssctl.catalogue.cluster import run_ray  # noqa: PLC0415 (an extra)

        run_ray(job, given, report)
        return _share(job, None)
    devices = [one.strip() for one in given.device.split(",")]
    if devices == ["auto"] and torch.cuda.device_count() > 1:
        devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if len(devices) == 1:
        return run_share(job, shard, devices[0], given.attempts, report)
    report(Notice(f"one process for each of {', '.join(devices)}"))
    whole = shard or Shard(0, 1)
    parts = [whole.part(index, len(devices)) for index in range(len(devices))]
    common = "--no-progress", "--attempts", str(given.attempts), "--shard"
    commands = [
        [
            sys.executable,
            "-m",
            "mssctl",
            "job",
            "run",
            str(job.folder),
            *common,
            str(part),
            "-d",
            device,
        ]
        for part, device in zip(parts, devices, strict=True)
    ]
    _processes(commands)
    return _share(job, shard)


def _share(job: Job, shard: Shard | None) -> Share:
    """The songs of a share, all of which have a final row by now."""
    standing = merged(job.rows())
    songs = [song for song in job.songs() if shard is None or shard.has(song.id)]
    final = {one: found.final for one, found in standing.items() if found.final}
    if any(song.id not in final for song in songs):
        raise MssctlError(
            f"{job.folder}: not all songs have a final row",
            hint="`mssctl job run` continues",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return songs, final


def _processes(commands: Sequence[Sequence[str]]) -> None:
    """Run commands beside each other; an interrupt ends all of them, each with its song dropped.

    Raises:
        MssctlError: one did not end as a share does (exit 3).
    """
    # In sessions of their own: the terminal's Ctrl-C and ours would be two, and cut cleanups short.
    quiet = {"stdout": subprocess.DEVNULL, "start_new_session": True}
    running = [subprocess.Popen(one, **quiet) for one in commands]  # type: ignore[call-overload] # noqa: S603
    try:
        codes = [process.wait() for process in running]
    except KeyboardInterrupt:
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()
        raise
    # Songs that are set aside (1 or 4) are in the rows.
    bad = [code for code in codes if code not in (ExitCode.OK, ExitCode.FAILED, ExitCode.BAD_INPUT)]
    if bad:
        raise MssctlError(
            f"a process of this job ended with exit code {bad[0]}",
            hint="its messages are above; `mssctl job run` continues",
            exit_code=ExitCode.ENVIRONMENT,
        )
