"""Where a user's models and choices are kept."""

import os
import sys
from pathlib import Path

from mssctl.errors import ExitCode, MssctlError


def user_folder() -> Path:
    r"""``$MSSCTL_HOME``, else the system's place for a user's data.

    That is ``$XDG_DATA_HOME/mssctl`` (``~/.local/share`` by default), on macOS
    ``~/Library/Application Support/mssctl``, on Windows ``%LOCALAPPDATA%\mssctl``.

    Raises:
        MssctlError: there is none (exit 3).
    """
    if named := os.environ.get("MSSCTL_HOME", "").strip():
        return Path(named).expanduser()
    try:
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Application Support"
        else:
            base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    except RuntimeError:
        raise MssctlError(
            "this user has no home folder",
            hint="set MSSCTL_HOME to a folder for models",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None
    return Path(base) / "mssctl"


def models_folder() -> Path:
    """Models that were pulled, as ``NAME.safetensors``."""
    return user_folder() / "models"


def in_user_folder(name: str) -> Path | None:
    """A file or folder that a user may have; None where there is none, or no place for it."""
    try:
        path = user_folder() / name
    except MssctlError:
        return None
    return path if path.exists() else None
