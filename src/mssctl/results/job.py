"""What `mssctl job` gives."""

from dataclasses import dataclass, field

from mssctl.results.common import FileFailure


@dataclass(frozen=True)
class JobMakeResult:
    """The job that was written: its folder, songs, bytes (of known size) and where outputs go."""

    job: str
    songs: int
    bytes: int
    model: str
    model_sha256: str
    settings_hash: str
    out: str


@dataclass(frozen=True)
class JobRunResult:
    """What a share of a job has come to.

    Attributes:
        job: its folder.
        shard: ``i/n``, or None for all songs.
        songs: of the share that are done, now or before.
        failures: those that are set aside.
    """

    job: str
    shard: str | None
    songs: int
    failures: list[FileFailure] = field(default_factory=list)


@dataclass(frozen=True)
class SetAside:
    """A song that was given up: why, and after how many attempts."""

    song: str
    path: str
    error: str
    message: str
    attempts: int


@dataclass(frozen=True)
class JobStatusResult:
    """How far a job is.

    Attributes:
        job: its folder.
        songs: of the job.
        done: with complete outputs.
        failed: tried, neither done nor set aside.
        audio_hours: of the songs that are done.
        workers: processes at work: with a row in the last hour, and not ended.
        songs_per_hour: of these together; None if there are none.
        eta_hours: until the others are done at that rate.
        missing_shards: that have never reported, of the newest division.
        set_aside: songs that were given up.
    """

    job: str
    songs: int
    done: int
    failed: int
    audio_hours: float
    workers: int
    songs_per_hour: float | None
    eta_hours: float | None
    missing_shards: list[str]
    set_aside: list[SetAside]


@dataclass(frozen=True)
class JobRetryResult:
    """How many songs get another round."""

    job: str
    songs: int
