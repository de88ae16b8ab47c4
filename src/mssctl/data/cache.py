"""What was learnt about files, kept between runs under their path, size and time of change."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mssctl.documents import parse_json, sealed, unsealed
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter
from mssctl.files import FileSet, storage_error

_TABLE = "CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, stamp TEXT, value TEXT)"


def cache_folder() -> Path:
    """``$MSSCTL_CACHE``, else ``mssctl`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    named = os.environ.get("MSSCTL_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mssctl"


def decoded_folder(name: str, fill: Callable[[Path], None]) -> Path:
    """A folder of decoded sound in the cache, which ``fill`` makes where it is not there yet.

    It appears complete or not at all; another process may make it at the same time.

    Raises:
        MssctlError: what ``fill`` raises; no space, or no permission (exit 3).
    """
    folder = cache_folder() / "decoded" / name
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileSet(folder.parent) as files:
            fill(files.add_folder(folder))
    except OSError as error:
        raise MssctlError(
            storage_error(folder, error).message,
            hint="free some space, or name another folder in the environment's MSSCTL_CACHE",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None
    except MssctlError:
        if not folder.is_dir():  # else another process was faster
            raise
    return folder


def stamp(files: Sequence[Path]) -> str:
    """Sizes and times of change of ``files``; another one when any of them was written.

    Raises:
        OSError: a file is not there.
    """
    states = [path.stat() for path in files]
    return json.dumps([[state.st_size, state.st_mtime_ns] for state in states])


class Cache:
    """Facts about files, as JSON values. Used in a ``with`` block, by one thread.

    A cache that cannot be read or written is no reason to stop: a notice says so, and everything
    is found out anew.
    """

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self._new: dict[str, tuple[str, str]] = {}  # key -> stamp, value; written when leaving
        self._stamps: dict[str, str] = {}
        self._database: sqlite3.Connection | None = None
        try:
            cache_folder().mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(cache_folder() / "facts.sqlite")
            self._database.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def get(self, kind: str, files: Sequence[Path]) -> Any:
        """The fact of this kind about ``files`` as they are now; None if it is not known."""
        key = _key(kind, files)
        # Stamped before the files are read: a change meanwhile makes the fact stale, not wrong.
        now = self._stamps[key] = stamp(files)
        if key in self._new:
            known: tuple[str, str] | None = self._new[key]
        else:
            known = self._stored(key)
        if known is None or known[0] != now:
            return None
        try:
            return unsealed(parse_json(known[1], "cache"), "cache")["fact"]
        except (MssctlError, AttributeError, KeyError):  # a damaged database: found out anew
            return None

    def put(self, kind: str, files: Sequence[Path], value: Any) -> None:
        """Keep a fact that `get` did not know."""
        key = _key(kind, files)
        self._new[key] = self._stamps[key], json.dumps(sealed({"fact": value}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._database is None:
            return
        rows = [(key, *fact) for key, fact in self._new.items()]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", rows)
        except sqlite3.Error as problem:
            self._give_up(problem)
        else:
            self._database.close()

    def _stored(self, key: str) -> tuple[str, str] | None:
        if self._database is None:
            return None
        try:
            query = "SELECT stamp, value FROM facts WHERE key = ?"
            row: tuple[str, str] | None = self._database.execute(query, (key,)).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return row

    def _give_up(self, error: Exception) -> None:
        if self._database:
            self._database.close()
        self._database = None
        self._report(
            Notice(f"{cache_folder()}: cache not used: {error}", level="warning"),
        )


def _key(kind: str, files: Sequence[Path]) -> str:
    names = b"\0".join([kind.encode(), *(os.fsencode(path.absolute()) for path in files)])
    return hashlib.blake2b(names, digest_size=16).hexdigest()
