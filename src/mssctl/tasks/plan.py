"""Predicts the memory of a run: not available yet."""

from __future__ import annotations

from typing import NoReturn

from mssctl.errors import ExitCode, MssctlError


def plan(preset: str = "base") -> NoReturn:
    """Refuse, until the command exists.

    Raises:
        MssctlError: always.
    """
    raise MssctlError(
        f"plan {preset}: not available yet",
        hint="docs/memory.md says what is known about memory",
        exit_code=ExitCode.ENVIRONMENT,
    )
