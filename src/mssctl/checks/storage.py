"""Checks of the places data comes from and results go to: room, speed, songs, cache."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mssctl.checks.findings import failed, gib, note, ok, warning
from mssctl.checks.machine import nearest
from mssctl.data.names import is_audio, is_stem_mp4, is_visible, split_of
from mssctl.hardware.machine import GIB, MIB
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import Finding

SAMPLE = 32 * MIB
LEAST_ROOM = 5 * GIB  # a few checkpoints, or the stems of some albums
SLOW = 50.0  # MiB/s; a batch of `small` is 162 MiB
LOOK_AT = 20_000  # files: a walk through a huge folder ends


def output(settings: DoctorOptions) -> Iterator[Finding]:
    """Room and speed where results go."""
    name, folder = "output folder", nearest(Path(settings.out))
    if Path(settings.out).expanduser().is_file():
        yield failed(name, f"{settings.out} is a file", "name a folder with --out")
        return
    try:
        free = shutil.disk_usage(folder).free
        speed = _write_speed(folder) if free > 2 * SAMPLE else None
    except OSError as error:
        summary = f"{folder}: cannot be written: {error.strerror}"
        yield failed(name, summary, "write elsewhere with --out, or fix its permissions")
        return
    summary = f"{folder}: {gib(free)} free"
    if speed is None:
        yield failed(name, f"{summary}: full", "make room, or write elsewhere with --out")
        return
    summary += f", writes {speed:.0f} MiB/s"
    if free < LEAST_ROOM:
        yield warning(name, summary, "make room: checkpoints and stems take gigabytes")
    elif speed < SLOW:
        yield warning(name, f"{summary}: slow", "write to a local disk with --out")
    else:
        yield ok(name, summary)


def _write_speed(folder: Path) -> float:
    """MiB/s of a file that really reaches the disk."""
    block = os.urandom(MIB)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".mssctl-") as file:
        started = time.perf_counter()
        for _ in range(SAMPLE // MIB):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return SAMPLE / MIB / (time.perf_counter() - started)


def data(settings: DoctorOptions) -> Iterator[Finding]:
    """Whether there are songs to train on, and how fast they are read."""
    name, where = "training data", "--data"
    given = settings.data
    if given is None:
        given, where = os.environ.get("MUSDB_PATH"), "MUSDB_PATH"
    if not given:
        remedy = "set MUSDB_PATH or pass --data; `mssctl data synth` makes songs"
        yield note(name, "none named: only needed to train and to score", remedy)
        return
    root = Path(given).expanduser()
    if not root.is_dir():
        summary = f"{where} is {given}: no such folder"
        yield failed(name, summary, f"fix {where}, or mount what it names")
        return
    try:
        found = _songs(root)
        free = shutil.disk_usage(root).free
        speed = _read_speed(found.first) if found.first else None
    except OSError as error:
        summary = f"{root}: cannot be read: {error.strerror}"
        yield failed(name, summary, "fix its permissions")
        return
    details = [f"cannot be read: {path}" for path in found.unreadable]
    songs = {split: len(folders) for split, folders in found.songs.items()}
    if not songs:
        remedy = "expected SONG/vocals.wav and so on, in it or in its train, valid and test folders"
        yield failed(name, f"{root}: no songs here", remedy, details)
        return
    counts = ", ".join(f"{split} {count}" for split, count in sorted(songs.items()))
    summary = f"{root}: songs: {counts}{'' if found.whole else ' or more'}, {gib(free)} free"
    if speed is not None:
        summary += f", reads {speed:.0f} MiB/s"
    if details:
        some = f"{summary}; {len(details)} folders cannot be read"
        yield warning(name, some, "fix their permissions", details)
    elif speed is not None and speed < SLOW:
        yield warning(name, f"{summary}: slow", "copy the songs to a local disk")
    elif not {"train", "here"} & songs.keys():
        yield warning(name, f"{summary}: none to train on", "put songs into a folder 'train'")
    else:
        yield ok(name, summary)


@dataclass
class _Found:
    """Songs by split (``here``: right in the folder), and what was seen on the way.

    Attributes:
        songs: their folders or files.
        first: an audio file.
        unreadable: folders.
        whole: whether the walk came to its end.
    """

    songs: dict[str, set[Path]] = field(default_factory=dict)
    first: Path | None = None
    unreadable: list[str] = field(default_factory=list)
    whole: bool = True


def _songs(root: Path) -> _Found:
    """Walk through the folder.

    Raises:
        OSError: the folder itself cannot be read.
    """
    found, seen = _Found(), 0

    def refused(error: OSError) -> None:
        if Path(error.filename) == root:
            raise error
        found.unreadable.append(error.filename)

    for folder, below, files in os.walk(root, onerror=refused):
        below[:] = sorted(name for name in below if is_visible(Path(name)))
        for file in sorted(files):
            path = Path(folder) / file
            whole_song = is_stem_mp4(path)
            if not is_visible(path) or not (whole_song or is_audio(path)):
                continue
            if path.parent == root and not whole_song:
                continue  # a lone file is no song of stems
            split = split_of(path.relative_to(root).parts[0]) or "here"
            found.first = found.first or path
            found.songs.setdefault(split, set()).add(path if whole_song else path.parent)
        seen += len(files)
        if seen > LOOK_AT:
            found.whole = False
            break
    return found


def _read_speed(path: Path) -> float | None:
    """MiB/s of the start of a file, past the system's cache where that can be asked for."""
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, SAMPLE, os.POSIX_FADV_DONTNEED)
        started = time.perf_counter()
        size = 0
        while size < SAMPLE and (block := file.read(MIB)):
            size += len(block)
        seconds = time.perf_counter() - started
    return size / MIB / seconds if size >= MIB else None  # less tells nothing


def cache(_: DoctorOptions) -> Iterator[Finding]:
    """Whether predictions and compiled kernels can be kept."""
    from mssctl.planning.cache import folder  # noqa: PLC0415 (imports torch)

    name, remedy = "cache folder", "set XDG_CACHE_HOME to a folder that can be written"
    try:
        path = folder()
    except RuntimeError:
        yield warning(name, "this user has no home folder", remedy)
        return
    try:
        with tempfile.TemporaryFile(dir=nearest(path), prefix=".mssctl-"):
            pass
    except OSError as error:
        summary = f"{path}: cannot be written: {error.strerror}: predictions are computed anew"
        yield warning(name, summary, remedy)
        return
    yield ok(name, str(path))
