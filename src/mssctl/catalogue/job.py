"""A job as data: ``job.json``, ``songs.jsonl`` and the rows in ``results``."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from mssctl import __version__
from mssctl.catalogue.rows import Row, read_lines, read_rows
from mssctl.catalogue.stores import Store, is_url, store
from mssctl.documents import read_json
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import FileSet, refuse_existing, storage_error
from mssctl.options.separate import SeparateOptions

_FORMAT = 1
_PER_FOLDER = 5_000  # songs, on average: hashes spread evenly enough to stay under 10,000
_LONGEST_NAME = 80  # characters of a song's name in that of its folder

# What does not change the outputs, or has a fixed value in a job.
NOT_OF_A_JOB = ("accept_license", "device", "existing", "fail_fast", "filename", "out")


@dataclass(frozen=True)
class JobSong:
    """A song of a job.

    Attributes:
        id: stable: from its path or URL.
        path: absolute, or a URL.
        size: bytes when the job was made; None where the file system does not say.
    """

    id: str
    path: str
    size: int | None

    @classmethod
    def of(cls, path: str, size: int | None) -> "JobSong":
        """A song, with the id that its path gives."""
        return cls(hashlib.sha256(path.encode(errors="surrogatepass")).hexdigest()[:16], path, size)


@dataclass(frozen=True)
class Job:
    """What all workers of a job agree on.

    Attributes:
        folder: of the job.
        settings: fields of `SeparateOptions` that make the outputs what they are.
        model_sha256: of the weights file.
        out: folder or URL of the outputs.
        levels: of folders named after the first digits of the ids, above the songs' own.
        versions: of mssctl and torch, when the job was made.
    """

    folder: Path
    settings: dict[str, Any]
    model_sha256: str
    out: str
    levels: int
    versions: dict[str, str]

    @property
    def options(self) -> SeparateOptions:
        """Of `mssctl.separate`, for each song."""
        return SeparateOptions.given(None, self.settings)

    @property
    def settings_hash(self) -> str:
        """SHA-256 over everything that decides what the outputs are."""
        text = json.dumps([self.settings, self.model_sha256, self.levels], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def results(self) -> Path:
        """The folder of the rows."""
        return self.folder / "results"

    def outputs(self) -> Store:
        """Where the outputs are."""
        return store(self.out if is_url(self.out) else str(self.folder / self.out))

    def songs(self) -> Iterator[JobSong]:
        """The songs, in order."""
        for row in read_lines(self.folder / "songs.jsonl"):
            yield JobSong(**row)

    def rows(self) -> list[Row]:
        """All rows, in order of time."""
        return read_rows(self.results)

    def place(self, song: JobSong) -> str:
        """The folder of a song's stems below ``out``, e.g. ``ab/name-ab0123456789abcd``."""
        digits = [song.id[2 * level : 2 * level + 2] for level in range(self.levels)]
        name = song.path.replace("\\", "/").rpartition("/")[2]
        stem = name.rpartition(".")[0] or name
        plain = "".join(c if c.isalnum() or c in " .-_" else "_" for c in stem)
        return "/".join([*digits, f"{plain[:_LONGEST_NAME].strip(' .')}-{song.id}"])


def levels_for(songs: int) -> int:
    """How many levels of 256 folders keep each folder small."""
    levels = 1
    while songs > _PER_FOLDER * 256**levels:
        levels += 1
    return levels


def settings_of(given: SeparateOptions) -> dict[str, Any]:
    """The options that make outputs what they are, in JSON's own types."""
    kept = {
        one.name: getattr(given, one.name) for one in fields(given) if one.name not in NOT_OF_A_JOB
    }
    return {name: list(one) if isinstance(one, tuple) else one for name, one in kept.items()}


def versions() -> dict[str, str]:
    """What made an output."""
    return {"mssctl": __version__, "torch": torch.__version__}


def write_job(job: Job, songs: Sequence[JobSong]) -> None:
    """Write a new job, complete or not at all.

    Raises:
        MssctlError: the folder exists (exit 2), or cannot be written (exit 3).
    """
    refuse_existing(job.folder, hint="a job is made once: `mssctl job run` continues it")
    values: Mapping[str, Any] = {
        "format": _FORMAT,
        "settings": job.settings,
        "settings_hash": job.settings_hash,
        "model_sha256": job.model_sha256,
        "out": job.out,
        "levels": job.levels,
        "songs": len(songs),
        "versions": job.versions,
    }
    try:
        parent = job.folder.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        with FileSet(parent) as files:
            folder = files.add_folder(job.folder.absolute())
            lines = (json.dumps(asdict(song)) + "\n" for song in songs)
            with (folder / "songs.jsonl").open("w", encoding="ascii") as file:
                file.writelines(lines)
            (folder / "job.json").write_text(json.dumps(values, indent=1) + "\n", encoding="ascii")
            (folder / "results").mkdir()
    except OSError as error:
        raise storage_error(job.folder, error) from None


def read_job(folder: Path) -> Job:
    """Read a job.

    Raises:
        MssctlError: there is none, or its settings were edited (exit 3).
    """
    path = folder / "job.json"
    if not path.is_file():
        raise MssctlError(
            f"{folder}: no job is there",
            hint="`mssctl job make` makes one",
            exit_code=ExitCode.ENVIRONMENT,
        )
    found = read_json(path, exit_code=ExitCode.ENVIRONMENT)
    try:
        if found["format"] != _FORMAT:
            raise MssctlError(
                f"{path}: format {found['format']}, of another version of mssctl",
                exit_code=ExitCode.ENVIRONMENT,
            )
        names = ("settings", "model_sha256", "out", "levels", "versions")
        job = Job(folder, **{name: found[name] for name in names})
        expected = found["settings_hash"]
    except KeyError as error:
        raise MssctlError(f"{path}: no {error}", exit_code=ExitCode.ENVIRONMENT) from None
    if job.settings_hash != expected:
        raise MssctlError(
            f"{path}: the settings are not those that the job was made with",
            hint="make another job for other settings",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return job
