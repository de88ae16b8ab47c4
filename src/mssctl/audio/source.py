"""What the reader needs of a kind of audio file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Note = Callable[[str], None]


@dataclass(frozen=True)
class Facts:
    """What a file states about its audio.

    Attributes:
        sample_rate: Hz.
        channels: per sample.
        subtype: sample format in libsndfile's words, or the name of a lossy codec.
        stated: samples per channel, None where the file does not state them.
        notes: what a user should know.
        audio_streams: in the file.
    """

    sample_rate: int
    channels: int
    subtype: str
    stated: int | None
    notes: tuple[str, ...] = ()
    audio_streams: int = 1


class Source(Protocol):
    """An audio file. Its samples come as blocks ``(C, n)`` of any lengths."""

    @property
    def facts(self) -> Facts:
        """What it states."""

    def whole(self, note: Note) -> Iterator[NDArray[np.float32]]:
        """All samples, with every check that the format allows.

        Raises:
            MssctlError: damaged or cut off.
        """

    def excerpt(self, start: int) -> Iterator[NDArray[np.float32]]:
        """The samples from ``start`` on, without checks of the whole file."""


def silent(_: str) -> None:
    """A `Note` that nobody reads."""
