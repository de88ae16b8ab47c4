"""Standard streams that never decide how a command ends.

A full disk behind a log, a pager that has exited or a closed terminal must not cost any work: what
stderr does not take is dropped, and nothing is written there after the first failure.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

LONGEST = 2_000  # characters of one message
_HEAD, _TAIL = 1_300, 600
# Control characters, line ends, lone surrogates, and marks that change the direction of text.
_HARMFUL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Unfailing:
    """A text stream that never raises.

    Args:
        stream: what to write to, until that fails.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failed = False

    def write(self, text: str) -> int:
        """Write, or drop the text."""
        self._attempt("write", text)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop what is pending."""
        self._attempt("flush")

    def _attempt(self, action: str, *arguments: str) -> None:
        if self._failed:
            return
        try:
            getattr(self._stream, action)(*arguments)
        except RuntimeError:
            pass  # a signal handler interrupted a write: only this text is lost
        except (OSError, ValueError):
            self._failed = True
            lead_nowhere(self._stream)

    def __getattr__(self, name: str) -> Any:
        """Everything else, such as ``encoding``, is the stream's own."""
        return getattr(self._stream, name)


def lead_nowhere(stream: TextIO) -> None:
    """Discard what ``stream`` has buffered and what it will receive.

    Python flushes it once more at exit, and would exit with 120.
    """
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def guarded() -> Iterator[None]:
    """In the body nothing written to stderr raises, and both streams take any file name."""
    with ExitStack() as stack:
        _occupy_closed_descriptors()
        before = sys.stderr
        stderr = before or stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        for stream in (sys.stdout, stderr):
            if hasattr(stream, "reconfigure"):  # a name may hold what the terminal cannot show
                stream.reconfigure(errors="backslashreplace")
        sys.stderr = Unfailing(stderr)
        try:
            yield
        finally:
            sys.stderr = before


def _occupy_closed_descriptors() -> None:
    """Open closed standard streams on the null device, so that no output file gets their number.

    C libraries write their messages to descriptor 2, whatever file it is.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one


def escaped(text: str) -> str:
    r"""``text`` on one line, without control characters: a name of two lines shows ``\n``."""
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shortened(text: str) -> str:
    """``text`` with its middle left out where it is longer than `LONGEST`."""
    if len(text) <= LONGEST:
        return text
    left_out = len(text) - _HEAD - _TAIL
    return f"{text[:_HEAD]} [… {left_out} characters …] {text[-_TAIL:]}"


def printable(text: str) -> str:
    """A message as it is printed: bounded, on one line, without control characters."""
    return shortened(escaped(shortened(text)))


def printable_lines(text: str) -> str:
    """`printable` for a message of several lines."""
    return "\n".join(printable(line) for line in shortened(text).split("\n"))
