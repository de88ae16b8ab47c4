"""Hidden folders for what is not published yet, and what killed processes left in them.

A staging folder is locked while its process lives. The next process that writes into the same
folder removes one that nobody holds, and restores what its owner had set aside.
"""

import errno
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mssctl.documents import parse_json
from mssctl.errors import MssctlError

NAME = re.compile(r"\.mssctl-(?P<host>[0-9a-f]{8})-\d+-[0-9a-f]{16}\.part")

_OLD, _DONE, _MANIFEST = "old", "done", "manifest.json"
_STALE = 24 * 3600.0  # seconds without a change, where no lock can tell
_TRIES = 10
_TAKEN = -1  # instead of a lock: another process has it

Identity = list[int]  # JSON's own types: it is kept in the manifest


class Staging:
    """A hidden folder in ``folder``, locked while this process lives."""

    def __init__(self, folder: Path) -> None:
        for _ in range(_TRIES):
            name = f".mssctl-{_host()}-{os.getpid()}-{secrets.token_hex(8)}.part"
            self.path = folder / name
            try:
                self.path.mkdir()
                self._lock = _locked(self.path)
            except KeyboardInterrupt:  # nobody else knows of it yet
                self._remove()
                raise
            # Between the two a sweep may have taken it for a leftover.
            if self._lock is not _TAKEN and self.path.is_dir():
                return
            _unlock(self._lock)
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(folder))

    def aside(self, name: str) -> Path:
        """Where an old file waits while the new one of that name is published."""
        return self.path / _OLD / name

    def describe(self, members: Sequence[tuple[str, Path]]) -> None:
        """Record which file belongs where, so that `sweep` can put old ones back."""
        entries = [
            [name, str(final.absolute()), identity(self.path / name)] for name, final in members
        ]
        (self.path / _MANIFEST).write_text(json.dumps(entries), encoding="ascii")

    def commit(self) -> None:
        """From here on `sweep` keeps the new files."""
        if (self.path / _OLD).is_dir():
            (self.path / _OLD).rename(self.path / _DONE)

    def close(self) -> None:
        """Remove the folder, unless an old file in it could not be restored."""
        try:
            self._remove()
        except KeyboardInterrupt:  # in the middle of it: finish, then end
            self._remove()
            raise
        finally:
            _unlock(self._lock)

    def _remove(self) -> None:
        with suppress(OSError):
            if not _holds_old_files(self.path):
                shutil.rmtree(self.path, ignore_errors=True)


def is_leftover(name: str) -> bool:
    """Whether a file name is that of a folder for files that were never published."""
    return NAME.fullmatch(name) is not None


def identity(path: Path) -> Identity:
    """What distinguishes a file from another one of the same name."""
    status = path.lstat()
    return [status.st_dev, status.st_ino, status.st_mtime_ns]


def set_aside(final: Path, aside: Path) -> None:
    """Keep an old file under a second name, so that its own is never empty."""
    aside.parent.mkdir(exist_ok=True)
    try:
        os.link(final, aside, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a folder, or no links on this file system
        final.rename(aside)


def put_back(aside: Path, final: Path, new: Identity) -> None:
    """Give an old file its name again, unless something else than ``new`` has it by now."""
    with suppress(OSError):
        if not os.path.lexists(aside):
            return
        if os.path.lexists(final) and identity(final) != new:
            if identity(final) == identity(aside):  # not replaced yet
                aside.unlink()
            return
        if final.is_dir() and not final.is_symlink():
            final.rename(aside.parent.with_name(f"{aside.name}.new"))
        aside.replace(final)


def copy_tree(source: Path, target: Path) -> None:
    """Hard-link a file, or all files in a folder; copy where links are not possible."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_second_name, dirs_exist_ok=True)
    else:
        _second_name(source, target)


def _second_name(source: Path | str, target: Path | str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def sweep(folder: Path) -> None:
    """Remove what killed processes left in ``folder``, and restore what they had set aside."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                _sweep_one(Path(entry.path))


def _sweep_one(path: Path) -> None:
    lock = _locked(path)
    if lock is _TAKEN:
        return
    try:
        match = NAME.fullmatch(path.name)
        own = lock is not None and match is not None and match["host"] == _host()
        if not own and time.time() - _last_change(path) < _STALE:
            return
        for name, final, new in _manifest(path):
            put_back(path / _OLD / name, Path(final), new)
        if not _holds_old_files(path):
            shutil.rmtree(path, ignore_errors=True)
    except OSError:
        return
    finally:
        _unlock(lock)


def _holds_old_files(path: Path) -> bool:
    return (path / _OLD).is_dir() and any((path / _OLD).iterdir())


def _manifest(path: Path) -> list[Any]:
    if not (path / _OLD).is_dir():
        return []
    try:
        entries = parse_json((path / _MANIFEST).read_bytes(), str(path / _MANIFEST))
    except (OSError, MssctlError):
        return []
    return entries if isinstance(entries, list) else []


def _last_change(path: Path) -> float:
    return max(item.lstat().st_mtime for item in (path, *path.rglob("*")))


def _locked(path: Path) -> int | None:
    """A lock until this process ends; None where there are no locks, `_TAKEN` if it is held."""
    from filelock import lock_descriptor  # noqa: PLC0415 - brings asyncio, slow to import

    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # gone, or a system that does not open folders
        return None if path.is_dir() else _TAKEN
    try:
        if lock_descriptor(descriptor, blocking=False):
            return descriptor
    except OSError:  # some network file systems have no locks
        os.close(descriptor)
        return None
    os.close(descriptor)
    return _TAKEN


def _unlock(lock: int | None) -> None:
    if lock is not None and lock is not _TAKEN:
        os.close(lock)


def _host() -> str:
    """Short name of this machine: locks held on another one may be invisible here."""
    return blake2b(socket.gethostname().encode(errors="replace"), digest_size=4).hexdigest()
