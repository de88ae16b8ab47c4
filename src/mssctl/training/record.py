"""What a run folder records about the run: ``metrics.jsonl`` and ``environment.json``."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from mssctl.config.schema import TrainingConfig
from mssctl.documents import parse_json, read_json
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


class Metrics:
    """``metrics.jsonl``: one line per optimizer step and per validation.

    Lines of steps and validations that a resumed run does again, and lines that cannot be read, are
    cut on opening, so that the file tells one story.

    Args:
        path: of the file; it need not exist.
        last_step: the step that the run goes on from.
        last_validated: the step of the last validation that it knows of.
        report: gets a notice of unreadable lines; a torn last one, as a kill leaves it, is normal.

    Raises:
        MssctlError: the file cannot be written; `add` and leaving the block raise it, too.
    """

    def __init__(
        self, path: Path, last_step: int, last_validated: int, report: Reporter = silent
    ) -> None:
        self._path = path
        last = {"step": last_step, "validation": last_validated}
        with writing(path):
            if path.exists():
                kept, damaged = _upto(path, last)
                write_whole(path, "".join(f"{line}\n" for line in kept))
                if damaged:
                    message = f"{path}: {damaged} damaged line(s) left out"
                    report(Notice(message, level="warning"))
            self._file = path.open("a", encoding="utf-8")

    def add(self, kind: str, **values: Any) -> None:
        """Append one whole line and hand it to the operating system."""
        with writing(self._path):
            self._file.write(json.dumps({"kind": kind, **values}, allow_nan=False) + "\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with writing(self._path):
            self._file.close()


def _upto(path: Path, last: dict[str, int]) -> tuple[list[str], int]:
    """The lines up to the ``last`` step of their kind, and how many cannot be read."""
    lines = path.read_bytes().split(b"\n")
    kept, damaged = [], 0
    for number, line in enumerate(lines, 1):
        try:
            values = parse_json(line, f"{path}: line {number}")
            if type(values["step"]) is not int:
                raise TypeError
            if values["step"] <= last[values["kind"]]:
                kept.append(line.decode())
        except (MssctlError, KeyError, TypeError):
            damaged += number < len(lines)  # the last is empty, or torn by a kill
    return kept, damaged


def versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    try:
        own = version("mssctl")
    except PackageNotFoundError:
        own = "source tree"
    return {
        "mssctl": own,
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
        step: the session goes on from.
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
    *before, newest = _sessions(run) or [{}]
    so_far = newest.get(key)
    newest = {**newest, key: [*(so_far if isinstance(so_far, list) else []), value]}
    _write_sessions(run, [*before, newest])


def set_in_session(run: Path, key: str, value: Any) -> None:
    """Set one value of the newest session in ``environment.json``."""
    *before, newest = _sessions(run) or [{}]
    _write_sessions(run, [*before, {**newest, key: value}])


def record_config(run: Path) -> None:
    """Keep the hash of a ``config.yaml`` that the program itself has changed."""
    set_in_session(run, CONFIG, _hash(run / "config.yaml"))


def recorded_config(run: Path) -> str | None:
    """Hash of ``config.yaml`` as the last session left it; None if that is not known."""
    sessions = _readable_sessions(run)
    found = sessions[-1].get(CONFIG) if sessions else None
    return found if isinstance(found, str) else None


def refuse_lost_checkpoints(run: Path, config: TrainingConfig) -> None:
    """Refuse to start over in a run that has had checkpoints.

    A run that was killed before its first checkpoint may start over: its first steps are the same
    again.

    Raises:
        MssctlError: there is none, and the run shows that there were some (exit 3).
    """
    folder = run / "checkpoints"
    if any(folder.glob("step-*")) or any(folder.glob(".step-*.old.tmp")):
        return
    step = _saved_step(run, config)
    if step is not None:
        which = f" of step {step}" if step else ""
        raise MssctlError(
            f"{folder}: no checkpoint, although the run had one{which}",
            hint="bring the folder back from a copy, or train a new run with `mssctl train`; "
            f"nothing was changed in {run}",
            exit_code=ExitCode.ENVIRONMENT,
        )


def _saved_step(run: Path, config: TrainingConfig) -> int | None:
    """A step of which a checkpoint was written, 0 if it is not known which; None for no sign."""
    sessions = _readable_sessions(run)
    steps = [session.get(key) for session in sessions for key in ("from_step", SAVED)]
    known = [step for step in steps if isinstance(step, int) and step > 0]
    if known:
        return max(known)
    if sessions and all(SAVED in session for session in sessions):
        return None
    # Of an earlier version, or without its record: what a run leaves behind a checkpoint.
    every = config.save_every_steps or config.steps_per_epoch
    first = min(every, config.steps_per_epoch)
    if (run / "best.safetensors").exists() or _last_step(run / "metrics.jsonl") > first:
        return 0
    return None


def _last_step(path: Path) -> int:
    """The last step in ``metrics.jsonl``, 0 if there is none."""
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    last = 0
    for line in lines:
        try:
            step = parse_json(line, "line")["step"]
        except (MssctlError, KeyError, TypeError):
            continue
        if isinstance(step, int):
            last = max(last, step)
    return last


def _readable_sessions(run: Path) -> list[dict[str, Any]]:
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
