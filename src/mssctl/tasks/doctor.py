"""Checks the machine: not available yet."""

from __future__ import annotations

from typing import NoReturn

from mssctl.errors import ExitCode, MssctlError


def doctor() -> NoReturn:
    """Refuse, until the command exists.

    Raises:
        MssctlError: always.
    """
    raise MssctlError(
        "doctor: not available yet",
        hint="mssctl separate and train say which device they use and why",
        exit_code=ExitCode.ENVIRONMENT,
    )
