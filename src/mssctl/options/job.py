"""The options of ``mssctl job run``."""

from dataclasses import dataclass
from typing import Literal

from mssctl.options.base import Options, option

Engine = Literal["local", "ray"]


@dataclass(frozen=True, kw_only=True)
class JobRunOptions(Options):
    """How `mssctl.api.job.run` works through a job."""

    shard: str | None = option(
        None,
        "--shard",
        help="Share i/n of the songs, i from 0; auto reads it from a Slurm array's, Kubernetes' or "
        "torchrun's variables.",
        metavar="I/N",
    )
    device: str = option(
        "auto",
        "--device",
        "-d",
        help="auto, cuda, cuda:N, mps or cpu; several with commas: one process each.",
        metavar="DEVICE",
    )
    engine: Engine = option(
        "local", "--engine", help="This machine, or a Ray cluster (needs mssctl[ray])."
    )
    attempts: int = option(
        3, "--attempts", help="Attempts before a song is set aside.", bounds=(1, 1000), metavar="N"
    )
