"""The one exception users can cause, and the exit codes of the command line."""

from difflib import get_close_matches
from enum import IntEnum
from reprlib import Repr

BUG = "this is a bug in mssctl: please report it with the lines above"  # a hint


class ExitCode(IntEnum):
    """Process exit codes, the same for every command."""

    OK = 0
    FAILED = 1  # some inputs failed, the others are written; or a bug
    USAGE = 2
    ENVIRONMENT = 3  # configuration or environment
    BAD_INPUT = 4  # does not fit, or bad input
    INTERRUPTED = 130


class MssctlError(Exception):
    """Something the user can cause and fix.

    Args:
        message: where and what, e.g. ``song.wav: 0 frames of audio``.
        hint: the next step to take, if one is known.
        exit_code: what the process should exit with.
    """

    def __init__(
        self, message: str, hint: str | None = None, exit_code: int = ExitCode.BAD_INPUT
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = ExitCode(exit_code)

    def __str__(self) -> str:
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message


def shown(value: object, limit: int = 60) -> str:
    """``value`` as Python writes it, for a message: at most about ``limit`` characters of it."""
    brief = Repr()
    brief.maxlist = brief.maxtuple = brief.maxdict = 6
    brief.maxlevel = 3
    brief.maxstring = brief.maxother = brief.maxlong = limit
    text = brief.repr(value)
    return text if len(text) <= limit + 2 else f"{text[: limit - 1]} ..."


def did_you_mean(word: str, known: list[str]) -> str | None:
    """Hint naming the closest of ``known``, or all of them when none is close."""
    close = get_close_matches(word[:100], known, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(known)}" if known else None
