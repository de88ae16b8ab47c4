"""Songs from their files to the files of their stems: reader, model, encoder.

Of many songs, one that fails does not stop the others.
"""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from mssctl.audio import files
from mssctl.audio.files import AudioInfo
from mssctl.audio.metadata import read_tags
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Progress, Reporter, silent
from mssctl.failures import failure
from mssctl.files import check_writable, storage_error
from mssctl.models.base import Separator
from mssctl.options.separate import Existing
from mssctl.results.common import FileFailure
from mssctl.results.separate import SeparatedSong
from mssctl.separation import outputs
from mssctl.separation.at_rate import level_of, separate_at
from mssctl.separation.encode import Target, write_stems
from mssctl.separation.excerpt import Excerpt
from mssctl.separation.formats import StemFormat
from mssctl.separation.inputs import Song, find_songs
from mssctl.separation.open_model import FoundModel
from mssctl.separation.outputs import Namer
from mssctl.separation.stems import Selection
from mssctl.separation.stream import (
    SeparationSettings,
    channel_groups,
    memory_errors,
)


class Described(Protocol):
    """What is to be known of a model before a song goes through it."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def channels(self) -> int:
        """At once."""

    @property
    def complete(self) -> bool:
        """Whether the stems are all that the mixture is made of."""


@dataclass(frozen=True)
class SongSeparation:
    """What a run makes of each song.

    Attributes:
        namer: gives each stem its file.
        selection: which stems are written.
        settings: how the model runs.
        files: the format of the stems.
        excerpt: the part of each song that is separated.
        peak: of all stems, dBFS; None leaves it where it is.
        existing: what to do where outputs exist already.
        report: receives the progress.
        remarks: what is to be said of every song.
    """

    namer: Namer
    selection: Selection
    settings: SeparationSettings
    files: StemFormat = field(default_factory=StemFormat)
    excerpt: Excerpt = field(default_factory=Excerpt)
    peak: float | None = None
    existing: Existing = "error"
    report: Reporter = silent
    remarks: tuple[str, ...] = ()

    def paths(self, song: Song) -> list[Path]:
        """The files that a song becomes."""
        return [self.namer.path(song, stem) for stem in self.selection.names]

    def check(self, song: Song) -> None:
        """Look at the header only.

        Raises:
            MssctlError: the song cannot be read, or its stems not written in this format.
        """
        self.files.encoding(self.as_written(files.inspect(song.path)))

    def as_written(self, info: AudioInfo) -> AudioInfo:
        """Rate and length of a song's stems; 0 frames where the song's length is not known.

        Raises:
            MssctlError: the excerpt begins after the song's end.
        """
        rate, frames = self.files.rate(info), self.excerpt.frames(info)
        return replace(info, sample_rate=rate, frames=-(-frames * rate // info.sample_rate))

    def is_there(self, song: Song) -> bool:
        """Whether all outputs of a song exist and stay.

        Raises:
            MssctlError: they cannot be written where they belong.
        """
        paths = self.paths(song)
        if len(outputs.already_there(paths, self.existing)) == len(paths):
            return True
        for path in paths:
            check_writable(path)
        return False

    def kept(self, song: Song) -> SeparatedSong:
        """Report a song whose outputs exist already.

        Raises:
            MssctlError: they are not stems of this song.
        """
        info = outputs.check_kept(self.paths(song), self.as_written(files.probe(song.path)))
        return self._result(song, info, 0.0, ["kept: the outputs exist already"])

    def separate(self, song: Song, model: Described) -> SeparatedSong:
        """Split one song.

        Raises:
            MssctlError: the song cannot be read, or memory or disk do not suffice.
        """
        start = time.perf_counter()
        try:
            with memory_errors(song.path):
                info = files.probe(song.path)
                stems = self.as_written(info)
                encoding = self.files.encoding(stems)
                target = Target(
                    paths=self.paths(song),
                    info=stems,
                    encoding=encoding,
                    clip_mode=self.files.clipping(encoding),
                    complete=self.selection.complete,
                    existing=self.existing,
                    peak=self.peak,
                    tags=read_tags(song.path),
                )
                notes = [*info.notes, *_notes(info, model), *self.files.notes(info, encoding)]
                notes += self.remarks
                separated = _Counted(self.outputs(song, info, model, notes.append))
                gain, more = write_stems(iter(separated), target, self.namer.out)
                stems = replace(stems, frames=separated.frames)
                speed = stems.seconds / (time.perf_counter() - start)
                return replace(self._result(song, stems, speed, [*notes, *more]), gain=gain)
        except OSError as error:
            raise storage_error(self.namer.out, error) from None

    def opened(self, model: FoundModel) -> tuple[Described, Self]:
        """Load the model; the run then computes no more than is written, which it reports."""
        separator = model.load(self.report).separator
        before = separator.stems
        run = replace(self, selection=self.selection.narrowed(separator))
        if separator.stems != before:
            run.report(Notice(f"computed: {', '.join(separator.stems)} only"))
        for part, backend in separator.backends().items():
            run.report(Notice(f"{part}: {backend}"))
        return separator, run

    def outputs(
        self, song: Song, info: AudioInfo, model: Described, note: Callable[[str], None]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Outputs ``(O, C, n)`` and mixture ``(C, n)``; the outputs add up to it if all are wanted.

        ``note`` receives what only the whole song shows.
        """
        assert isinstance(model, Separator)
        for stems, mix in self.stems(song, info, model, note):
            yield self.selection.apply(stems), mix

    @torch.inference_mode()
    def stems(
        self, song: Song, info: AudioInfo, model: Separator, note: Callable[[str], None]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """All stems ``(S, C, n)``, with the rest where they lack some, and mixture ``(C, n)``."""
        rates = info.sample_rate, self.files.rate(info)
        level = level_of(model, self.excerpt.of(info), self.settings, info.sample_rate)
        total = self.as_written(info).seconds
        start = time.perf_counter()
        done = 0
        blocks = self.excerpt.of(info, note)
        for whole, mix in separate_at(model, blocks, self.settings, rates, level):
            yield whole, mix
            done += mix.shape[-1]
            seconds = done / rates[1]
            self.report(
                Progress(
                    task=song.path.name,
                    done=round(seconds, 1),
                    total=round(max(total, seconds), 1),
                    unit="s",
                    rate=seconds / (time.perf_counter() - start),
                    rate_unit="x real time",
                )
            )

    def _result(self, song: Song, info: AudioInfo, speed: float, notes: list[str]) -> SeparatedSong:
        return SeparatedSong(
            path=str(song.path),
            stems={
                stem: str(path)
                for stem, path in zip(self.selection.names, self.paths(song), strict=True)
            },
            seconds=info.seconds,
            sample_rate=info.sample_rate,
            channels=info.channels,
            speed=speed,
            notes=notes,
        )


class _Counted:
    """Counts the ``frames`` of a stream on its way to the files: a header may be wrong."""

    def __init__(self, separated: Iterator[tuple[Tensor, Tensor]]) -> None:
        self.frames = 0
        self._separated = separated

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for stems, mixture in self._separated:
            self.frames += mixture.shape[-1]
            yield stems, mixture


def _notes(info: AudioInfo, model: Described) -> list[str]:
    """What happens to the audio on its way through the model."""
    notes = []
    if info.sample_rate != model.sample_rate:
        notes.append(
            f"{info.sample_rate} Hz: resampled to {model.sample_rate} Hz for the model and back"
        )
    if info.sample_rate > model.sample_rate:
        share = "shared equally among the stems" if model.complete else "in none of the stems"
        notes.append(f"what lies above {model.sample_rate // 2} Hz is {share}")
    groups = channel_groups(info.channels, model.channels)
    if info.channels < model.channels:
        notes.append("mono: given to both channels of the model; the stems are their mean")
    elif len(groups) > 1:
        shown = ", ".join("+".join(str(c + 1) for c in dict.fromkeys(g)) for g in groups)
        notes.append(f"{info.channels} channels: through the model one group at a time: {shown}")
    return notes


def separate_songs(
    run: SongSeparation, arguments: Sequence[Path | str], model: FoundModel, *, fail_fast: bool
) -> tuple[list[SeparatedSong], list[FileFailure]]:
    """Do the cheap checks of all songs, then load the model, then separate.

    Raises:
        MssctlError: an output exists already, or two songs would share one (exit 2), before any
            work; or the model cannot be loaded.
    """
    usable, failures = _usable(run, arguments)
    if failures and fail_fast:
        return [], failures
    separator = None
    if not all(usable.values()):
        separator, run = run.opened(model)
    done: list[SeparatedSong] = []
    for song, is_there in usable.items():
        try:
            if separator is None or is_there:
                done.append(run.kept(song))
            else:
                done.append(run.separate(song, separator))
        except Exception as error:  # noqa: BLE001 (the other songs are still separated)
            failures.append(failure(str(song.path), error))
            if not isinstance(error, MssctlError | OSError | MemoryError):
                run.report(Notice(traceback.format_exc(), level="warning"))
            if fail_fast:
                break
            if len(usable) > 1:
                run.report(Notice(f"{song.path} failed, continuing", level="warning"))
    return done, failures


def _usable(
    run: SongSeparation, arguments: Sequence[Path | str]
) -> tuple[dict[Song, bool], list[FileFailure]]:
    """The songs that can be separated, whether their outputs exist already, and the failures."""
    found, problems = find_songs(arguments, run.namer.out)
    failures = [failure(path, error) for path, error in problems]
    readable = []
    for song in found:
        try:
            run.check(song)
            readable.append(song)
        except (MssctlError, OSError) as error:
            failures.append(failure(str(song.path), error))
    outputs.check_distinct(run.namer, readable, run.selection.names)
    usable = {}
    for song in readable:
        try:
            usable[song] = run.is_there(song)
        except (MssctlError, OSError) as error:
            problem = failure(str(song.path), error)
            if run.existing == "error" and problem.exit_code == ExitCode.USAGE:
                raise  # before any work
            failures.append(problem)
    return usable, failures
