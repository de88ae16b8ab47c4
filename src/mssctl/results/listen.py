"""What `mssctl listen` gives."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ListeningPage:
    """A page that was written.

    Attributes:
        title: of the song.
        path: to open in a browser; the files beside it belong to it.
        takes: separations of the song that it compares.
        stems: that it shows.
        mixture: whether the mixture is among its tracks.
        seconds: length of the song.
        kbits: bit rate of each track's mp3, kbit/s.
        size: of all its files, bytes.
        notes: what was done to the audio on the way.
    """

    title: str
    path: str
    takes: list[str]
    stems: list[str]
    mixture: bool
    seconds: float
    kbits: int
    size: int
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ListenResult:
    """What ``listen`` wrote."""

    pages: list[ListeningPage]
