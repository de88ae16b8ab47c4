"""Where a user's models and choices are kept."""

import os
import sys
from pathlib import Path


def user_folder() -> Path:
    r"""``$MSSCTL_HOME``, else the system's place for a user's data.

    That is ``$XDG_DATA_HOME/mssctl`` (``~/.local/share`` by default), on macOS
    ``~/Library/Application Support/mssctl``, on Windows ``%LOCALAPPDATA%\mssctl``.
    """
    if named := os.environ.get("MSSCTL_HOME", "").strip():
        return Path(named).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "mssctl"


def models_folder() -> Path:
    """Models that were pulled, as ``NAME.safetensors``."""
    return user_folder() / "models"
