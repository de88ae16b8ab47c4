"""``mssctl separate``: songs in, one file per stem out."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path

import torch
from torch import Tensor

from mssctl.audio import files
from mssctl.audio.files import AudioInfo
from mssctl.audio.resample import resample_stream
from mssctl.audio.streams import in_step
from mssctl.config import bounds
from mssctl.config.schema import RunConfig
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Progress, Reporter, silent
from mssctl.failures import failure
from mssctl.files import check_writable, storage_error
from mssctl.hardware.device import (
    DeviceChoice,
    Dtype,
    DtypeChoice,
    choose_device,
    choose_dtype,
    configure,
)
from mssctl.models import weights
from mssctl.models.base import Separator
from mssctl.results.common import FileFailure
from mssctl.results.separate import SeparatedSong, SeparateResult
from mssctl.separation import outputs
from mssctl.separation.encode import (
    BitDepth,
    ClipMode,
    Encoding,
    Format,
    Target,
    check_choices,
    check_format,
    choose_encoding,
    clip_mode_for,
    write_stems,
)
from mssctl.separation.inputs import Song, find_songs
from mssctl.separation.outputs import Existing, Namer
from mssctl.separation.separator import (
    SeparationSettings,
    channel_groups,
    memory_errors,
    separate_stream,
)
from mssctl.separation.stems import OtherMethod, Selection, project, select, with_rest

_BLOCK = 65_536  # frames read at once
_PRECISION = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 25, "PCM_32": 32, "DOUBLE": 54}  # bits


def separate(
    songs: Path | str | Sequence[Path | str],
    *,
    name: str = "starter",
    out: Path | str | None = None,
    filename: str = outputs.DEFAULT_TEMPLATE,
    device: str = "auto",
    dtype: Dtype = "auto",
    segment: float | None = None,
    overlap: float | None = None,
    batch: int | None = None,
    shifts: int = 1,
    seed: int | None = None,
    stems: Sequence[str] | None = None,
    two_stems: str | None = None,
    other_method: OtherMethod | None = None,
    format: Format = "wav",  # noqa: A002 (the flag's name)
    bit_depth: BitDepth = "auto",
    clip_mode: ClipMode | None = None,
    existing: Existing = "error",
    fail_fast: bool = False,
    report: Reporter = silent,
) -> SeparateResult:
    """Split songs into stems that have each song's rate, channels and length, and add up to it.

    Args:
        songs: files, folders (walked) and patterns, one or several.
        name: bundled model, or path of a ``.safetensors`` file.
        out: folder of the outputs; ``separated/{model}`` if None.
        filename: template below ``out``, see `mssctl.separation.outputs.Namer`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: inside the model; ``auto`` is bf16 on CUDA (below compute capability 8.0, which
            has none, fp16; below 7.0 fp32) and fp32 elsewhere.
        segment: seconds that the model sees at once; None as in its configuration.
        overlap: fraction of a segment shared with the next; None likewise.
        batch: segments computed at once; None likewise.
        shifts: passes to average, all but the first with randomly shifted segments.
        seed: of the shifts, of two and more; None is 0.
        stems: write only these.
        two_stems: write this stem and the rest, see `mssctl.separation.stems.select`.
        other_method: what the rest is; None is ``add``.
        format: of the files.
        bit_depth: ``auto`` keeps that of the input, 16 at least.
        clip_mode: for samples beyond full scale; None: ``rescale``, but ``none`` for float32.
        existing: what to do where outputs exist already.
        fail_fast: stop at the first song that fails.
        report: is told what happens.

    Returns:
        What was written, and the songs that failed: those never stop the others.

    Raises:
        MssctlError: a setting, the model, the device or the output folder is of no use, or an
            output exists already; nothing has been done then.
    """
    check_choices(format=format, bit_depth=bit_depth, clip_mode=clip_mode, existing=existing)
    check_format(format, bit_depth)
    if out is not None and not str(out).strip():
        raise MssctlError("out: the folder's name is blank", exit_code=ExitCode.USAGE)
    check_numbers(segment, overlap, batch, shifts, seed)
    if seed is not None and shifts == 1:
        raise MssctlError(
            "--seed does nothing without --shifts of 2 or more", exit_code=ExitCode.USAGE
        )
    chosen = choose_device(device)
    inside = choose_dtype(dtype, chosen.device)
    path = weights.find(name)
    config, _ = weights.read_metadata(path)
    selection = select(
        config.audio.outputs,
        only=stems,
        two_stems=two_stems,
        other_method=other_method,
        whole=config.audio.complete,
    )
    folder = Path("separated") / path.stem if out is None else Path(out)
    order = _Order(
        folder=folder,
        namer=Namer(folder, filename, path.stem, format),
        selection=selection,
        settings=SeparationSettings.from_config(
            config,
            segment_seconds=segment,
            overlap=overlap,
            batch_size=batch,
            amp_dtype=inside.amp_dtype,
            mix_consistent=False,  # done at the song's own rate, see _Order.outputs
            shifts=shifts,
            seed=seed or 0,
        ),
        format=format,
        bit_depth=bit_depth,
        clip_mode=clip_mode,
        existing=existing,
        fail_fast=fail_fast,
        report=report,
    )
    with outputs.folder_for_outputs(folder):
        arguments = [songs] if isinstance(songs, str | Path) else songs
        done, failures = _separate_all(order, arguments, name, config, chosen, inside)
    return SeparateResult(path.stem, str(chosen.device), inside.name, done, failures)


def check_numbers(
    segment: float | None,
    overlap: float | None,
    batch: int | None,
    shifts: int = 1,
    seed: int | None = None,
) -> None:
    """Refuse numbers out of bounds, with the name of their flag.

    Raises:
        MssctlError: (exit 2).
    """
    numbers = {
        "--segment": (segment, bounds.SEGMENT_SECONDS),
        "--overlap": (overlap, bounds.OVERLAP),
        "--batch": (batch, bounds.BATCH),
        "--shifts": (shifts, bounds.SHIFTS),
        "--seed": (seed, bounds.SEED),
    }
    for flag, (value, (lowest, highest)) in numbers.items():
        if value is not None and not lowest <= value <= highest:
            raise MssctlError(
                f"{flag} {value}: must be from {lowest} to {highest}",
                exit_code=ExitCode.USAGE,
            )


def _separate_all(
    order: _Order,
    arguments: Sequence[Path | str],
    name: str,
    config: RunConfig,
    chosen: DeviceChoice,
    inside: DtypeChoice,
) -> tuple[list[SeparatedSong], list[FileFailure]]:
    """The cheap checks of all songs, then the weights, then the work."""
    usable, failures = _usable(order, arguments)
    if failures and order.fail_fast:
        return [], failures
    needs_model = not all(usable.values())
    model = _load(name, config, chosen, inside, order.report) if needs_model else None
    done: list[SeparatedSong] = []
    for song, is_there in usable.items():
        try:
            if model is None or is_there:
                done.append(order.kept(song))
            else:
                done.append(order.separate(song, model))
        except Exception as error:  # noqa: BLE001 (the other songs are still separated)
            failures.append(failure(str(song.path), error))
            if not isinstance(error, MssctlError | OSError | MemoryError):
                order.report(Notice(traceback.format_exc(), level="warning"))
            if order.fail_fast:
                break
            if len(usable) > 1:
                order.report(Notice(f"{song.path} failed, going on", level="warning"))
    return done, failures


def _usable(
    order: _Order, arguments: Sequence[Path | str]
) -> tuple[dict[Song, bool], list[FileFailure]]:
    """The songs that can be worked on, whether their outputs are there already, and the others."""
    found, problems = find_songs(arguments, order.folder)
    failures = [failure(path, error) for path, error in problems]
    readable = []
    for song in found:
        try:
            order.check(song)
            readable.append(song)
        except (MssctlError, OSError) as error:
            failures.append(failure(str(song.path), error))
    outputs.check_distinct(order.namer, readable, order.selection.names)
    usable = {}
    for song in readable:
        try:
            usable[song] = order.is_there(song)
        except (MssctlError, OSError) as error:
            problem = failure(str(song.path), error)
            if order.existing == "error" and problem.exit_code == ExitCode.USAGE:
                raise  # before any work
            failures.append(problem)
    return usable, failures


def _load(
    name: str, config: RunConfig, chosen: DeviceChoice, inside: DtypeChoice, report: Reporter
) -> Separator:
    report(Notice(f"device {chosen.device}: {chosen.reason}"))
    if inside.reason:
        report(Notice(f"dtype {inside.name}: {inside.reason}"))
    configure(
        chosen.device,
        tf32=config.training.tf32,
        cudnn_benchmark=config.training.cudnn_benchmark,
        flash_attention=config.training.flash_attention,
    )
    model = weights.load(name, chosen.device).separator
    for part, backend in model.backends().items():
        report(Notice(f"{part}: {backend}"))
    return model


@dataclass(frozen=True)
class _Order:
    """What is wanted of every song of a run."""

    folder: Path
    namer: Namer
    selection: Selection
    settings: SeparationSettings
    format: Format
    bit_depth: BitDepth
    clip_mode: ClipMode | None
    existing: Existing
    fail_fast: bool
    report: Reporter

    def paths(self, song: Song) -> list[Path]:
        """The files that a song becomes."""
        return [self.namer.path(song, stem) for stem in self.selection.names]

    def check(self, song: Song) -> None:
        """Look at the header only."""
        choose_encoding(self.format, self.bit_depth, files.inspect(song.path))

    def is_there(self, song: Song) -> bool:
        """Whether all outputs of a song are there and stay.

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
        """Report a song whose outputs are there already.

        Raises:
            MssctlError: they are not stems of this song.
        """
        info = outputs.check_kept(self.paths(song), files.probe(song.path))
        return self._result(song, info, 0.0, ["kept: the outputs exist already"])

    def separate(self, song: Song, model: Separator) -> SeparatedSong:
        """Split one song.

        Raises:
            MssctlError: the song, the memory or the disk is not fit for it.
        """
        start = time.perf_counter()
        try:
            with memory_errors(song.path):
                info = files.probe(song.path)
                encoding = choose_encoding(self.format, self.bit_depth, info)
                target = Target(
                    paths=self.paths(song),
                    info=info,
                    encoding=encoding,
                    clip_mode=clip_mode_for(encoding, self.clip_mode),
                    complete=self.selection.complete,
                    existing=self.existing,
                )
                notes = [*info.notes, *_notes(info, model, encoding)]
                stems = self.outputs(song, info, model, notes.append)
                heard = _Counted(stems)
                notes += write_stems(iter(heard), target, self.folder)
                info = replace(info, frames=heard.frames)
                speed = info.seconds / (time.perf_counter() - start)
                return self._result(song, info, speed, notes)
        except OSError as error:
            raise storage_error(self.folder, error) from None

    @torch.inference_mode()
    def outputs(
        self, song: Song, info: AudioInfo, model: Separator, note: Callable[[str], None]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Outputs ``(O, C, n)`` and mixture ``(C, n)``; the outputs add up to it if all are wanted.

        Resampling loses what lies above the lower rate's Nyquist frequency, so the stems are
        made to add up here, after the way back, and not at the model's rate. ``note`` is told
        what only the whole song shows.
        """
        heard, mixture = tee(_mixture(info, note))
        into = resample_stream(heard, info.sample_rate, model.sample_rate)
        stems = separate_stream(model, into, self.settings)
        back = resample_stream(stems, model.sample_rate, info.sample_rate)
        start = time.perf_counter()
        done = 0
        # The way back may give a sample more than the song has; then the mixture ends first.
        for mix, part in in_step(mixture, back):
            whole = project(part, mix) if model.complete else with_rest(part, mix)
            yield self.selection.apply(whole), mix
            done += mix.shape[-1]
            seconds = done / info.sample_rate
            self.report(
                Progress(
                    task=song.path.name,
                    done=round(seconds, 1),
                    total=round(max(info.seconds, seconds), 1),
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
    """What `_Order.outputs` yields, and how many ``frames`` it had: a header may be wrong."""

    def __init__(self, separated: Iterator[tuple[Tensor, Tensor]]) -> None:
        self.frames = 0
        self._separated = separated

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for stems, mixture in self._separated:
            self.frames += mixture.shape[-1]
            yield stems, mixture


def _mixture(info: AudioInfo, note: Callable[[str], None]) -> Iterator[Tensor]:
    return (torch.from_numpy(block) for block in files.blocks(info.path, _BLOCK, note))


def _notes(info: AudioInfo, model: Separator, encoding: Encoding) -> list[str]:
    """What happens to the audio on its way through the model and into the files."""
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
    if encoding.container == "MP3":
        notes.append("mp3 is lossy: the stems add up to the input only roughly")
    elif _PRECISION[encoding.subtype] < _PRECISION.get(info.subtype, 0):
        notes.append(f"{info.subtype} in, {encoding.subtype} out")
    return notes
