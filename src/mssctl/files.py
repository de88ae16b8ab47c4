"""Files that appear complete or not at all, and never in place of something else.

Everything is first written into a hidden folder (`mssctl.staging`), and published when all of it
is there: by a hard link, which fails where something exists already. With ``overwrite`` the old
files are set aside, and restored if any of the new ones cannot be published.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mssctl.errors import ExitCode, MssctlError
from mssctl.staging import Identity, Staging, identity, put_back, set_aside, sweep


def write_whole(path: Path, text: str) -> None:
    """Write a text file of this program's own, in place of an older one.

    Raises:
        OSError: it cannot be written; then the old one is there as before.
    """
    with FileSet(path.parent, overwrite=True) as files:
        files.add(path).write_text(text, encoding="utf-8")


def write_new(path: Path, text: str) -> None:
    """Write a text file where there is none.

    Raises:
        MssctlError: something is there (exit 2).
        OSError: it cannot be written; then nothing is there.
    """
    with FileSet(path.parent) as files:
        files.add(path).write_text(text, encoding="utf-8")


def refuse_existing(path: Path, *, hint: str | None = None) -> None:
    """Refuse a path where something is, before the work for that file rather than after it.

    Raises:
        MssctlError: something is there (exit 2).
    """
    if os.path.lexists(path):
        raise _exists(path, hint)


def check_writable(path: Path) -> None:
    """Make sure, before the work, that a file can be made at ``path``; its folders may be missing.

    Raises:
        MssctlError: a file or a broken link stands where a folder should, a name is too long, or
            there is no permission (exit 3).
    """
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir():
        raise storage_error(folder, NotADirectoryError(errno.ENOTDIR, ""))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise storage_error(folder, PermissionError(errno.EACCES, ""))
    for name in path.absolute().relative_to(folder).parts:
        try:
            os.lstat(folder / name)
        except FileNotFoundError:
            continue
        except OSError as error:  # the name is too long
            raise storage_error(path, error) from None


def check_new(path: Path) -> None:
    """Make sure, before the work, that ``path`` can become a new file in an existing folder.

    Raises:
        MssctlError: something is there (exit 2), or no file can be made there (exit 3).
    """
    refuse_existing(path)
    check_writable(path)
    if not path.parent.is_dir():
        raise MssctlError(
            f"{path}: no such folder: {path.parent}",
            hint="make it first, or name another one",
            exit_code=ExitCode.ENVIRONMENT,
        )


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _exists(path: Path, hint: str | None, since: str = "") -> MssctlError:
    return MssctlError(
        f"{path}: exists already{since}",
        hint=hint or "name another file, or move this one away",
        exit_code=ExitCode.USAGE,
    )


@dataclass(frozen=True)
class _Member:
    """One file or folder of a set: where it is written, and where it belongs."""

    final: Path
    name: str  # in its staging folder
    staging: Staging
    folder: bool

    @property
    def temporary(self) -> Path:
        return self.staging.path / self.name


class FileSet:
    """Files and folders that appear together at the end, or not at all.

    Leaving the ``with`` block cleanly publishes them; an error or an interrupt removes them.

    Args:
        folder: an existing folder for the temporary files, on the file system of the outputs.
        overwrite: replace what is there, or that of which the function says so.
        keep: files that stay as they are; what is written for them is only there to compare.
        hint: the next step for a user whose file is in the way.
    """

    def __init__(
        self,
        folder: Path,
        *,
        overwrite: bool | Callable[[Path], bool] = False,
        keep: Collection[Path] = (),
        hint: str | None = None,
    ) -> None:
        self.folder = folder
        self.overwrite = overwrite
        self._keep = keep
        self._hint = hint
        self._stagings: dict[int, Staging] = {}  # by file system
        self._members: list[_Member] = []

    def add(self, path: Path) -> Path:
        """Where to write the file that is to become ``path``; nothing is there yet.

        Raises:
            MssctlError: something is at ``path``, and nothing may be replaced (exit 2).
            OSError: no file can be made in the folder.
        """
        return self._add(path, folder=False)

    def add_folder(self, path: Path) -> Path:
        """An empty folder that is to become ``path``; raises as `add`."""
        temporary = self._add(path, folder=True)
        temporary.mkdir()
        return temporary

    def written(self, path: Path) -> Path:
        """Where the file is that is to become ``path``."""
        return next(member.temporary for member in self._members if member.final == path)

    def publish(self) -> None:
        """Give all files their names, or none; folders are made for them.

        Raises:
            MssctlError: something has appeared at one of them, and nothing may be replaced.
            OSError: the file system refuses.
        """
        if self.overwrite and not self._in_one_step():
            for staging in self._stagings.values():
                own = [member for member in self._members if member.staging is staging]
                staging.describe([(member.name, member.final) for member in own])
        undo: list[Callable[[], None]] = []
        try:
            for member in self._members:
                if member.final in self._keep:
                    continue
                with _about(member.final):
                    _make_folder(member.final.parent, undo)
                    self._publish(member, undo)
            for staging in self._stagings.values():
                staging.commit()
        except BaseException:
            for step in reversed(undo):
                step()
            raise

    def discard(self) -> None:
        """Remove what was not published."""
        with ExitStack() as stack:
            for staging in self._stagings.values():
                stack.callback(staging.close)
            self._stagings, self._members = {}, []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.publish()
        finally:
            self.discard()

    def _add(self, path: Path, *, folder: bool) -> Path:
        free = path in self._keep or self._replaceable(path, folder=folder)
        if os.path.lexists(path) and not free:
            raise _exists(path, self._hint)
        with _about(path):
            parent = path.parent if path.parent.is_dir() else self.folder
            device = parent.stat().st_dev
            if not self._stagings:
                sweep(self.folder)
                self._stagings[self.folder.stat().st_dev] = Staging(self.folder)
            if parent != self.folder:
                sweep(parent)
            if device not in self._stagings:
                self._stagings[device] = Staging(parent)
        name = f"{len(self._members)}{path.suffix}"
        self._members.append(_Member(path, name, self._stagings[device], folder))
        return self._members[-1].temporary

    def _replaceable(self, path: Path, *, folder: bool) -> bool:
        """A folder gives way to a folder only, and a file to a file."""
        asked = self.overwrite(path) if callable(self.overwrite) else self.overwrite
        return asked and folder == (path.is_dir() and not path.is_symlink())

    def _in_one_step(self) -> bool:
        """One file needs nothing set aside: a rename replaces it."""
        return len(self._members) == 1 and not self._members[0].folder

    def _publish(self, member: _Member, undo: list[Callable[[], None]]) -> None:
        final, new = member.final, identity(member.temporary)
        if not (self.overwrite and os.path.lexists(final)):
            undo.append(lambda: _take_back(member, new))
            try:
                _place(member)
            except FileExistsError:
                undo.pop()
                since = ": it appeared during the work and was kept"
                raise _exists(final, self._hint, since) from None
            return
        if not self._replaceable(final, folder=member.folder):
            raise _exists(final, self._hint)
        if self._in_one_step():
            member.temporary.replace(final)
            return
        aside = member.staging.aside(member.name)
        undo.append(lambda: put_back(aside, final, new))
        set_aside(final, aside)
        if member.folder:
            member.temporary.rename(final)
        else:
            member.temporary.replace(final)


def _make_folder(folder: Path, undo: list[Callable[[], None]]) -> None:
    for path in reversed([folder, *folder.parents]):
        if not path.exists():
            path.mkdir(exist_ok=True)
            undo.append(lambda path=path: _remove_empty(path))  # type: ignore[misc]


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _place(member: _Member) -> None:
    """Give a file or folder its name.

    Raises:
        FileExistsError: something has it.
    """
    if member.folder:
        try:
            member.temporary.rename(member.final)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            raise
        return
    try:
        os.link(member.temporary, member.final)
    except FileExistsError:
        raise
    except OSError:  # a file system without links (FAT, some network shares), or a real reason
        os.close(os.open(member.final, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            member.temporary.replace(member.final)
        except OSError:
            member.final.unlink()
            raise


def _take_back(member: _Member, new: Identity) -> None:
    """Undo `_place`, if what is there is still what was placed."""
    with suppress(OSError):
        if identity(member.final) == new:
            if member.folder:
                member.final.rename(member.temporary)
            else:
                member.final.unlink()


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Let an OSError name the output and not a temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from None


_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose another folder with --out"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another --out"),
    errno.EFBIG: ("the file system allows no file of this size", "choose another --out"),
    errno.EACCES: ("no permission to write there", "choose another folder with --out"),
    errno.EPERM: ("no permission to write there", "choose another folder with --out"),
    errno.EROFS: ("the file system is read-only", "choose another folder with --out"),
    errno.ENOTDIR: ("a file is in the place of a folder", "choose another folder with --out"),
    errno.EEXIST: ("a file is in the place of a folder", "choose another folder with --out"),
    errno.ENAMETOOLONG: ("the name is too long", "give shorter names with --filename"),
}


def storage_error(path: Path, error: OSError) -> MssctlError:
    """What a failed write means for the user."""
    reason, hint = _REASONS.get(error.errno or 0, (error.strerror or str(error), None))
    return MssctlError(
        f"{path}: cannot be written: {reason}", hint=hint, exit_code=ExitCode.ENVIRONMENT
    )
