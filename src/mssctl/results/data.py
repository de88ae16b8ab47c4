"""What `mssctl data` gives."""

from dataclasses import dataclass

from mssctl.results.common import FileFailure


@dataclass(frozen=True)
class SynthResult:
    """What ``data synth`` wrote: songs per split, seconds of audio in all."""

    out: str
    songs: int
    seconds: float
    splits: dict[str, int]
    seed: int
    samples: str | None


@dataclass(frozen=True)
class CheckedRoot:
    """One data folder: split -> songs (or samples), and split -> stem -> hours of audio."""

    path: str
    layout: str
    songs: dict[str, int]
    hours: dict[str, dict[str, float]]


@dataclass(frozen=True)
class DataFinding:
    """Something to know about a song that training accepts.

    ``kind``: ``missing`` (stem), ``length`` (unequal), ``mixture`` (not the sum of the stems),
    ``silent``, ``clipped``, ``odd`` (a file that is not quite what it states) or ``duplicate``
    (within a split).
    """

    kind: str
    split: str
    song: str
    path: str
    message: str


@dataclass(frozen=True)
class DataCheckResult:
    """What ``data check`` found.

    Attributes:
        roots: the folders.
        songs: how many songs or samples can be read to the end.
        findings: what should be known.
        failures: unreadable files, other sample rates or channels, and audio in two splits.
        skipped: sentences on what is not part of the set.
    """

    roots: list[CheckedRoot]
    songs: int
    findings: list[DataFinding]
    failures: list[FileFailure]
    skipped: list[str]
