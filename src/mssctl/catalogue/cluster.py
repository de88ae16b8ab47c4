"""A job in Ray: Ray Data gives songs to long-lived workers, and handles what dies.

Ray delivers at least once; outputs that are complete are not made again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mssctl.catalogue.job import Job, JobSong, read_job
from mssctl.catalogue.rows import WORKER, RowFile, Standing, merged
from mssctl.catalogue.run import Attempts
from mssctl.catalogue.worker import Worker
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Progress, Reporter, silent
from mssctl.options.job import JobRunOptions

_CORES = 4  # of a worker without a GPU, at most
_BLOCKS = 1_000  # that the songs come in, at most: what Ray gives away at once


class Songs:
    """A worker in an actor.

    Args:
        folder: of the job.
        device: as `mssctl.separate` takes it.
        attempts: before a song is set aside.
    """

    def __init__(self, folder: str, device: str, attempts: int) -> None:
        job = read_job(Path(folder))
        worker = Worker(job, device)
        rows = RowFile(job.results)
        # An actor that replaces one that died counts what that one had begun.
        self._standing = merged(job.rows())
        rows.append(WORKER, shard="0/1", device=worker.device, songs=0)
        self._trying = Attempts(worker, rows, attempts, silent)

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
        """Give songs (columns id, path) their final rows; columns song and status."""
        ended = []
        for one, path in zip(batch["id"], batch["path"], strict=True):
            song = JobSong(str(one), str(path), None)
            standing = self._standing.setdefault(song.id, Standing())
            while (row := standing.final) is None:
                standing.final = self._trying.final(song, standing, None)
            ended.append((song.id, row["status"]))
        return {"song": [song for song, _ in ended], "status": [status for _, status in ended]}


def run_ray(job: Job, given: JobRunOptions, report: Reporter) -> None:
    """Give every song of a job its final row, in the cluster of RAY_ADDRESS or on this machine.

    Raises:
        MssctlError: Ray is not installed, or no worker can be made (exit 3).
    """
    try:
        import ray  # noqa: PLC0415 (an extra)
        import ray.data  # noqa: PLC0415
    except ImportError:
        raise MssctlError(
            "`engine=ray`: Ray is not installed",
            hint='install it with pip install "mssctl[ray]"',
            exit_code=ExitCode.ENVIRONMENT,
        ) from None
    Worker(job, "cpu")  # a model that is not the job's is refused before any actor starts
    standing = merged(job.rows())
    known = {one for one, found in standing.items() if found.final}
    songs = [{"id": song.id, "path": song.path} for song in job.songs() if song.id not in known]
    if not songs:
        return
    if not ray.is_initialized():
        ray.init()
    needs, workers = _resources(ray.cluster_resources(), given.device)
    found = ray.data.from_items(songs, override_num_blocks=min(len(songs), _BLOCKS)).map_batches(
        Songs,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(workers, len(songs))),
        fn_constructor_args=(str(job.folder.absolute()), given.device, given.attempts),
        **needs,
    )
    for number, _ in enumerate(found.iter_rows(), 1):
        report(Progress("songs", number, len(songs), "songs"))


def _resources(cluster: Mapping[str, float], device: str) -> tuple[dict[str, int], int]:
    """What a worker needs, and how many of them the cluster may hold as it is."""
    gpus, cores = int(cluster.get("GPU", 0)), int(cluster.get("CPU", 1))
    if gpus and device != "cpu":
        return {"num_gpus": 1}, gpus
    each = max(1, min(_CORES, cores // 2))
    return {"num_cpus": each}, max(1, cores // each)
