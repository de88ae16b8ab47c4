"""How a case ended, and the table of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

ERROR = "error"  # found: the command failed with a sentence
NOTE = "note"  # found: a note or a warning
HARMLESS = "harmless"  # the result is that of the intact file
SILENT = "silent"  # another result without a word, where nothing in the format shows it
BAD = "BAD"  # a promise is broken
_LONGEST = 2_000
OUTCOMES = (ERROR, NOTE, HARMLESS, SILENT, BAD)


@dataclass(frozen=True)
class Verdict:
    """The end of one case.

    Attributes:
        index: number of the case; with the seed it makes the case again.
        subject: row of the table: a format, a document or a command that was killed.
        what: the damage, in words.
        outcome: one of `OUTCOMES`.
        why: what was said, or which promise was broken.
    """

    index: int
    subject: str
    what: str
    outcome: str
    why: str = ""

    def line(self) -> str:
        """One line for people: no control characters, of bounded length."""
        line = f"{self.index}: {self.subject}: {self.what}: {self.outcome}: {self.why}"
        shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        return "".join(shown)[:_LONGEST]


class BrokenPromiseError(Exception):
    """What a case did that it must not."""


def promise(kept: bool, why: str) -> None:
    """Raise where a promise is broken."""
    if not kept:
        raise BrokenPromiseError(why)


def table(verdicts: Iterable[Verdict]) -> str:
    """Cases by subject and outcome, and the share that passed in silence."""
    verdicts = list(verdicts)
    counts = Counter((verdict.subject, verdict.outcome) for verdict in verdicts)
    rows = ["| damaged | cases | error | note | harmless | silent | BAD | silent share |"]
    rows.append("| --- |" + " ---: |" * 7)
    for subject in [*sorted({verdict.subject for verdict in verdicts}), "all"]:
        row = [
            sum(n for (name, kind), n in counts.items() if subject in (name, "all") and kind == end)
            for end in OUTCOMES
        ]
        total = sum(row)
        share = f"{row[OUTCOMES.index(SILENT)] / total:.0%}" if total else ""
        rows.append(f"| {subject} | {total} | " + " | ".join(map(str, row)) + f" | {share} |")
    return "\n".join(rows) + "\n"
