"""Turns result dataclasses into text for people and into the ``--json`` document."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import singledispatch
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from mssctl.cli.progress import clock
from mssctl.cli.streams import escaped
from mssctl.config.metrics import metric_of
from mssctl.errors import ExitCode
from mssctl.results.bench import ScanBench
from mssctl.results.common import FileFailure
from mssctl.results.data import DataCheckResult, SynthResult
from mssctl.results.doctor import DoctorResult
from mssctl.results.evaluate import EvalResult
from mssctl.results.models import ModelEntry, ModelList
from mssctl.results.separate import SeparatedSong, SeparateResult
from mssctl.results.train import DryRunResult, TrainResult

SCHEMA = 1


def as_json(code: int, data: Any, error: Mapping[str, str | None] | None) -> str:
    """The ``--json`` document, on one line. Its characters are ASCII, so any terminal takes it."""
    document = {"schema": SCHEMA, "exit_code": int(code), "data": plain(data), "error": error}
    return json.dumps(document, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """The value in JSON's own types; NaN and infinities, which JSON lacks, become null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def failures_of(result: Any) -> Sequence[FileFailure]:
    """The inputs that a result reports as failed."""
    reporting = SeparateResult | DataCheckResult | EvalResult
    return result.failures if isinstance(result, reporting) else ()


def exit_code_of(result: Any) -> int:
    """0, 1 if some inputs failed, their own code if all failed alike, 130 if interrupted.

    3 for a machine that is not fit.
    """
    if isinstance(result, DoctorResult) and not result.fit:
        return ExitCode.ENVIRONMENT
    if isinstance(result, TrainResult) and not result.finished:
        return ExitCode.INTERRUPTED
    codes = {failed.exit_code for failed in failures_of(result)}
    if not codes:
        return ExitCode.OK
    done = result.tracks if isinstance(result, EvalResult) else result.songs
    return ExitCode.FAILED if done or len(codes) > 1 else codes.pop()


@singledispatch
def as_text(result: Any) -> str:
    """What a command prints on stdout without ``--json``; nothing for no result."""
    if result is None:
        return ""
    raise TypeError(f"no text form for {type(result).__name__}")


@as_text.register
def _(result: SeparateResult) -> str:
    return "".join(_song(song) for song in result.songs)


def _song(song: SeparatedSong) -> str:
    channels = count(song.channels, "channel")
    audio = f"{clock(song.seconds)}, {song.sample_rate} Hz, {channels}"
    speed = f", {song.speed:.1f} x real time" if song.speed else ""  # 0: kept, not computed
    head = f"{escaped(song.path)}: {audio}{speed}"
    rows = [[f"  {stem}", escaped(path)] for stem, path in song.stems.items()]
    stems = aligned(["", ""], rows)
    notes = "".join(f"  note: {escaped(note)}\n" for note in song.notes)
    return f"{head}\n{stems}{notes}"


@as_text.register
def _(result: TrainResult) -> str:
    unit = metric_of(result.best_metric).unit
    score = "none yet" if result.best_score is None else f"{result.best_score:.2f} {unit}".rstrip()
    rows = [
        ["run", result.run],
        ["state", "finished" if result.finished else f"interrupted: mssctl resume {result.run}"],
        ["steps", f"{result.step} ({count(result.epoch, 'epoch')}) in {clock(result.seconds)}"],
        [f"best {result.best_metric}", score],
        ["checkpoint", result.checkpoint],
        ["model", result.model or "none yet: nothing has been validated"],
    ]
    return aligned(["", ""], rows)


@as_text.register
def _(result: DryRunResult) -> str:
    songs = f"{result.training_songs} to train on, {result.validation_songs} held out"
    peak = (
        "not measured on this device" if result.peak_gib is None else f"{result.peak_gib:.1f} GiB"
    )
    rows = [
        ["dry run", f"nothing was written; the run would go to {result.run}"],
        ["songs", songs],
        ["steps", f"{result.steps} of {result.effective_batch} examples"],
        ["first step", f"loss {result.loss:.4f} in {result.seconds:.2f} s"],
        ["peak memory", peak],
    ]
    return aligned(["", ""], rows)


@as_text.register
def _(result: SynthResult) -> str:
    rows = [
        ["folder", result.out],
        *([split, count(songs, "song")] for split, songs in result.splits.items()),
        ["audio", clock(result.seconds)],
        ["samples", result.samples or "none: oscillators and noise"],
        ["seed", str(result.seed)],
    ]
    return aligned(["", ""], rows)


_SHOWN = 10  # findings of a kind; --json has all


@as_text.register
def _(result: DataCheckResult) -> str:
    lines = []
    for root in result.roots:
        stems = list(dict.fromkeys(stem for hours in root.hours.values() for stem in hours))
        rows = [
            [split, str(songs), *(clock(3600 * root.hours[split].get(stem, 0.0)) for stem in stems)]
            for split, songs in root.songs.items()
        ]
        lines.append(f"{root.path}: layout {root.layout}; length of each stem")
        lines.append(aligned(["split", "songs", *stems], rows, numbers=True).rstrip("\n"))
    for kind in dict.fromkeys(finding.kind for finding in result.findings):
        found = [finding for finding in result.findings if finding.kind == kind]
        lines.append(f"{kind}: {count(len(found), 'finding')}")
        lines += [f"  {item.split}/{item.song}: {item.message}" for item in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"  and {len(found) - _SHOWN} more: --json lists them all")
    lines += result.skipped
    if not result.findings and not result.failures:
        lines.append(f"{count(result.songs, 'song')}: nothing wrong")
    return "".join(f"{line}\n" for line in lines)


@as_text.register
def _(result: ModelList) -> str:
    rows = [
        [entry.name, entry.architecture, ", ".join(entry.stems), _size(entry), entry.license]
        for entry in result.models
    ]
    if not rows:
        return "no models\n"
    return aligned(["name", "architecture", "stems", "parameters", "license"], rows)


@as_text.register
def _(result: ModelEntry) -> str:
    rows = [
        ["name", result.name],
        ["architecture", result.architecture],
        ["stems", ", ".join(result.stems)],
        ["audio", f"{result.sample_rate} Hz, {count(result.channels, 'channel')}"],
        ["parameters", _size(result)],
        ["license", result.license],
        ["file", result.path],
        ["sha256", result.sha256],
    ]
    return aligned(["", ""], rows)


@as_text.register
def _(result: ScanBench) -> str:
    shape = ", ".join(f"{name} {size}" for name, size in result.shape.items())
    rows = [
        [
            timing.backend,
            "" if timing.chunk_size is None else str(timing.chunk_size),
            f"{timing.seconds:.4f}",
            f"{timing.speedup:.1f} x",
            f"{timing.error:.1e}",
        ]
        for timing in result.timings
    ]
    head = ["backend", "chunk", "seconds", "of loop", "error"]
    lines = [
        f"{result.preset} on {result.device} ({result.machine}), torch {result.torch}, "
        + count(result.threads, "thread"),
        f"{shape}; forward and backward",
        aligned(head, rows, numbers=True).rstrip("\n"),
        *(f"left out: {reason}" for reason in result.left_out),
    ]
    return "".join(f"{line}\n" for line in lines)


def count(number: int, noun: str) -> str:
    """``1 song``, ``2 songs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _size(entry: ModelEntry) -> str:
    return f"{entry.parameters / 1e6:.2f} M"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    """Aligned columns; styled on a terminal, and never cut: what does not fit wraps."""
    screen = Console(markup=False, highlight=False, emoji=False)
    table = Table(box=None, show_header=any(head), pad_edge=False, header_style="bold")
    for column, title in enumerate(head):
        right = numbers and column > 0
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    if not screen.is_terminal:  # a pipe or file has no width
        screen = Console(file=StringIO(), width=10_000, markup=False, highlight=False, emoji=False)
    with screen.capture() as capture:
        screen.print(table)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
