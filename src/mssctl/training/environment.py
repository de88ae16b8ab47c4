"""``environment.json``: what the sessions of a run really worked with."""

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mssctl.documents import read_json
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter, silent
from mssctl.files import sha256, write_whole

CONFIG = "config_sha256"  # of a session: config.yaml as it left it
SAVED = "saved_step"  # of a session: its first checkpoint


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes to ``path``: an OSError becomes an `MssctlError` that names it."""
    try:
        yield
    except OSError as error:
        raise MssctlError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint="solve that, then continue with `mssctl resume`",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None


def installed(package: str) -> str | None:
    """The version of a package, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    return {
        "mssctl": installed("mssctl") or "source tree",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def record_session(
    run: Path,
    device: torch.device,
    step: int,
    receipt: Mapping[str, Any],
    changes: Mapping[str, str],
    report: Reporter = silent,
) -> None:
    """Add to ``environment.json`` what this session of the run really works with.

    Args:
        run: the run folder.
        device: the session computes on.
        step: the session continues from.
        receipt: of `mssctl.training.receipt.make_receipt`.
        changes: key -> ``old -> new`` of settings that ``resume --set`` changed.
        report: gets a notice if the file so far is damaged.
    """
    cuda = device.type == "cuda"
    entry = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "from_step": step,
        "versions": versions(),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if cuda else None,
        **receipt,
        "changed": dict(changes),
        CONFIG: _hash(run / "config.yaml"),
        SAVED: None,
    }
    _write_sessions(run, [*_sessions(run, report), entry])


def add_to_session(run: Path, key: str, value: Any) -> None:
    """Append ``value`` to the list ``key`` of the newest session in ``environment.json``."""
    so_far = (readable_sessions(run) or [{}])[-1].get(key)
    set_in_session(run, key, [*(so_far if isinstance(so_far, list) else []), value])


def set_in_session(run: Path, key: str, value: Any) -> None:
    """Set one value of the newest session in ``environment.json``."""
    *before, newest = _sessions(run) or [{}]
    _write_sessions(run, [*before, {**newest, key: value}])


def record_config(run: Path) -> None:
    """Keep the hash of a ``config.yaml`` that the program itself has changed."""
    set_in_session(run, CONFIG, _hash(run / "config.yaml"))


def recorded_config(run: Path) -> str | None:
    """Hash of ``config.yaml`` as the last session left it; None if that is not known."""
    sessions = readable_sessions(run)
    found = sessions[-1].get(CONFIG) if sessions else None
    return found if isinstance(found, str) else None


def readable_sessions(run: Path) -> list[dict[str, Any]]:
    """The sessions so far, none where the file is damaged."""
    try:
        sessions = read_json(run / "environment.json").get("sessions")
    except MssctlError:
        return []
    if not isinstance(sessions, list):
        return []
    return [session for session in sessions if isinstance(session, dict)]


def _hash(path: Path) -> str | None:
    return sha256(path) if path.is_file() else None


def _sessions(run: Path, report: Reporter = silent) -> list[dict[str, Any]]:
    """The sessions so far; a damaged file is set aside, since a run does not need it."""
    path = run / "environment.json"
    if not path.exists():
        return []
    try:
        sessions = read_json(path).get("sessions")
        if not isinstance(sessions, list) or not all(isinstance(one, dict) for one in sessions):
            raise MssctlError(f"{path}: it lists no sessions")
    except MssctlError as error:
        number = 1
        while (aside := run / f"environment.damaged-{number}.json").exists():
            number += 1
        with writing(aside):
            path.replace(aside)
        message = f"{error.message}; set aside as {aside.name}, a new one is begun"
        report(Notice(message, level="warning"))
        return []
    return sessions


def _write_sessions(run: Path, sessions: list[dict[str, Any]]) -> None:
    path = run / "environment.json"
    with writing(path):
        write_whole(path, json.dumps({"sessions": sessions}, indent=2))
