"""Measures the speed of a preset: not available yet."""

from __future__ import annotations

from typing import NoReturn

from mssctl.errors import ExitCode, MssctlError


def bench(preset: str = "base") -> NoReturn:
    """Refuse, until the command exists.

    Raises:
        MssctlError: always.
    """
    raise MssctlError(
        f"bench {preset}: not available yet",
        hint="mssctl separate prints its own speed, training its steps per second",
        exit_code=ExitCode.ENVIRONMENT,
    )
