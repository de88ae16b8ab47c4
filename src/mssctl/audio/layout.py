"""Where in a file its audio lies."""

from __future__ import annotations

from dataclasses import dataclass

from mssctl.audio.part import Range


@dataclass(frozen=True)
class Layout:
    """The streams of a file that follow each other, without what is no audio.

    Attributes:
        parts: of each stream its ranges of bytes.
        stated: samples per channel, where the file states them and its structure agrees.
        notes: what a user should know.
    """

    parts: tuple[tuple[Range, ...], ...]
    stated: int | None = None
    notes: tuple[str, ...] = ()
