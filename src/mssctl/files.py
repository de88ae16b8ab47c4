"""Files that appear whole or not at all, and what a failed write means for the user."""

from __future__ import annotations

import errno
from pathlib import Path

from mssctl.errors import ExitCode, MssctlError


def write_whole(path: Path, text: str) -> None:
    """Write a text file that is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
