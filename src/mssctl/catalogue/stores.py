"""Where songs come from and stems go: folders, and URLs through fsspec.

The outputs of a song are one folder with ``song.json``, its row. A folder is renamed into its
place whole. An object store has no folders: there ``song.json`` comes last, and stems without it
are not complete.
"""

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import fsspec

from mssctl.audio.formats import AUDIO_SUFFIXES
from mssctl.documents import parse_json
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import FileSet
from mssctl.staging import sweep

ROW = "song.json"


class Store(Protocol):
    """A place for the outputs of many songs."""

    def row(self, place: str) -> dict[str, Any] | None:
        """The row of complete outputs, all stems of which have their size; else None."""

    @contextmanager
    def new(self, place: str) -> Iterator[Path]:
        """An empty folder of this machine that becomes ``place`` at the end, or nothing does."""


def is_url(path: str) -> bool:
    """Whether fsspec reads it."""
    return "://" in path


def store(out: str) -> Store:
    """The store of a folder or a URL.

    Raises:
        MssctlError: the folder cannot be made, or nothing reads such URLs (exit 3).
    """
    return _Remote(out) if is_url(out) else _Folder(Path(out))


class _Folder:
    def __init__(self, out: Path) -> None:
        self.out = out
        out.mkdir(parents=True, exist_ok=True)
        sweep(out)

    def row(self, place: str) -> dict[str, Any] | None:
        folder = self.out / place
        with suppress(OSError, MssctlError, KeyError, TypeError):
            row: dict[str, Any] = parse_json((folder / ROW).read_bytes(), str(folder / ROW))
            sizes = {name: (folder / name).stat().st_size for name in row["outputs"]}
            if all(sizes[name] == row["outputs"][name]["size"] for name in sizes):
                return row
        return None

    @contextmanager
    def new(self, place: str) -> Iterator[Path]:
        # A folder that this program made gives way (a stem was cut or lost); no other.
        ours = (self.out / place / ROW).exists()
        with FileSet(self.out, overwrite=ours) as files:
            yield files.add_folder(self.out / place)


class _Remote:
    def __init__(self, out: str) -> None:
        self.files, self.out = filesystem(out)

    def row(self, place: str) -> dict[str, Any] | None:
        folder = f"{self.out}/{place}"
        with suppress(OSError, MssctlError, KeyError, TypeError):
            row: dict[str, Any] = parse_json(self.files.cat_file(f"{folder}/{ROW}"), place)
            sizes = {name: self.files.info(f"{folder}/{name}")["size"] for name in row["outputs"]}
            if all(sizes[name] == row["outputs"][name]["size"] for name in sizes):
                return row
        return None

    @contextmanager
    def new(self, place: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="mssctl-") as folder:
            yield Path(folder)
            self._publish(Path(folder), place)

    def _publish(self, folder: Path, place: str) -> None:
        """Upload all under temporary names, then move them, the row last."""
        part = f"{self.out}/.mssctl-{secrets.token_hex(8)}.part"
        names = sorted((path.name for path in folder.iterdir()), key=lambda name: name == ROW)
        self.files.makedirs(f"{self.out}/{place}", exist_ok=True)
        # Not mv and rm of fsspec, which take brackets in a path for a pattern.
        try:
            for name in names:
                self.files.put_file(str(folder / name), f"{part}/{name}")
            for name in names:
                self.files.cp_file(f"{part}/{name}", f"{self.out}/{place}/{name}")
        finally:
            for name in names:
                with suppress(OSError):
                    self.files.rm_file(f"{part}/{name}")
            with suppress(OSError):
                self.files.rmdir(part)


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        MssctlError: nothing reads such URLs here (exit 3).
    """
    try:
        files, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise MssctlError(
            f"{url}: {error}",
            hint="fsspec reads it with the package that it names (s3fs for s3://)",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None
    return files, path.rstrip("/")


def listed(url: str) -> Iterator[tuple[str, int | None]]:
    """URL and size of the songs that a URL means: a file, a folder (walked) or a pattern.

    Raises:
        MssctlError: there are none (exit 4).
    """
    files, path = filesystem(url)
    try:
        if "*" in path:
            found = files.glob(path, detail=True)
        elif files.isdir(path):
            found = files.find(path, detail=True)
        else:
            found = {path: {**files.info(path), "asked": True}}
    except OSError as error:
        raise MssctlError(f"{url}: cannot be read: {error}") from None
    songs = [
        (files.unstrip_protocol(name), info.get("size"))
        for name, info in sorted(found.items())
        if info.get("asked") or Path(name).suffix.lower() in AUDIO_SUFFIXES
    ]
    if not songs:
        raise MssctlError(f"{url}: no audio files there")
    yield from songs


def fetched(path: str, folder: Path) -> Path:
    """A song as a file of this machine: itself, or its copy in ``folder``.

    Raises:
        MssctlError: it cannot be read.
    """
    if not is_url(path):
        return Path(path)
    files, remote = filesystem(path)
    local = folder / f"song{Path(remote).suffix}"
    try:
        files.get_file(remote, str(local))
    except OSError as error:
        raise MssctlError(f"{path}: cannot be read: {error}") from None
    return local


def write_row(folder: Path, row: dict[str, Any]) -> None:
    """Add a song's row to its outputs."""
    (folder / ROW).write_text(json.dumps(row, indent=1) + "\n", encoding="ascii")


def discard(folder: Path) -> None:
    """Remove a folder of this machine."""
    shutil.rmtree(folder, ignore_errors=True)
