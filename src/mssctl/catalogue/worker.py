"""One worker of a job: it opens the model once, and makes of each song one row."""

import tempfile
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mssctl.catalogue.job import Job, JobSong, versions
from mssctl.catalogue.rows import DONE, Row
from mssctl.catalogue.stores import discard, fetched, write_row
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Reporter, silent
from mssctl.files import sha256
from mssctl.models.base import Separator
from mssctl.separation.inputs import Song
from mssctl.separation.open_model import find_model
from mssctl.separation.outputs import Namer
from mssctl.separation.prepare import model_names, song_separation
from mssctl.separation.song import SongSeparation


class Worker:
    """Separates songs of a job on one device.

    Args:
        job: the job.
        device: as `mssctl.separate` takes it.
        report: receives events.

    Raises:
        MssctlError: no such model or device, or the model is not the job's (exit 3).
    """

    def __init__(self, job: Job, device: str = "auto", report: Reporter = silent) -> None:
        self.job = job
        given = job.options
        self._report = report
        self._model = find_model(model_names(given)[0], device, given.dtype, report=report)
        found = sha256(self._model.path)
        if found != job.model_sha256:
            raise MssctlError(
                f"{self._model.path}: its sha256 is {found[:12]}…, the job's is "
                f"{job.model_sha256[:12]}…",
                hint="use the weights that the job was made with, or make another job",
                exit_code=ExitCode.ENVIRONMENT,
            )
        self._store = job.outputs()
        self.device = str(self._model.device.device)

    @cached_property
    def _loaded(self) -> tuple[SongSeparation, Separator]:
        """The run and its separator, loaded for the first song that needs it."""
        run = song_separation(self.job.options, [self._model], Path(), self._report)
        separator = self._model.load(self._report).separator
        return replace(run, selection=run.selection.narrowed(separator)), separator

    def fetch(self, song: JobSong) -> tuple[Path, Path]:
        """Stage a song in, into a temporary folder; the folder, and the song's file."""
        folder = Path(tempfile.mkdtemp(prefix="mssctl-"))
        try:
            return folder, fetched(song.path, folder)
        except BaseException:
            discard(folder)
            raise

    def done(self, song: JobSong) -> Row | None:
        """The row of outputs that are complete.

        Raises:
            MssctlError: they are of other settings (exit 3).
        """
        place = self.job.place(song)
        row = self._store.row(place)
        if row and row.get("settings_hash") != self.job.settings_hash:
            raise MssctlError(
                f"{self.job.out}/{place}: holds outputs of another job",
                hint="make this job with another `out`",
                exit_code=ExitCode.ENVIRONMENT,
            )
        return row

    def separate_song(self, song: JobSong, source: Path | None = None) -> Row:
        """Make the outputs of a song complete, unless they are, and give their row.

        Args:
            song: of the job.
            source: the song's file on this machine, if it is staged in already.

        Raises:
            MssctlError: the song cannot be read, or the outputs not written.
        """
        if row := self.done(song):
            return row
        folder = None
        if source is None:
            folder, source = self.fetch(song)
        try:
            with self._store.new(self.job.place(song)) as out:
                row = self._separate(song, source, out)
                write_row(out, row)
            return row
        except MssctlError:
            if row := self.done(song):  # another worker was faster
                return row
            raise
        finally:
            if folder:
                discard(folder)

    def _separate(self, song: JobSong, source: Path, out: Path) -> Row:
        run, separator = self._loaded
        ext = self.job.options.format
        run = replace(run, namer=Namer(out, "{stem}.{ext}", self._model.name, ext))
        start = time.perf_counter()
        made = run.separate(Song(source, ""), separator)
        seconds = time.perf_counter() - start
        outputs: dict[str, Any] = {
            path.name: {"size": path.stat().st_size, "sha256": sha256(path)}
            for path in map(Path, made.stems.values())
        }
        return {
            "status": DONE,
            "song": song.id,
            "input": {"size": source.stat().st_size, "sha256": sha256(source)},
            "outputs": outputs,
            "place": self.job.place(song),
            "audio_seconds": made.seconds,
            "seconds": seconds,
            "speed": made.speed,
            "notes": made.notes,
            "device": self.device,
            "model_sha256": self.job.model_sha256,
            "settings_hash": self.job.settings_hash,
            "versions": versions(),
        }
