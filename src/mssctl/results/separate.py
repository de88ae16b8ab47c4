"""What `mssctl separate` gives."""

from dataclasses import dataclass, field

from mssctl.results.common import FileFailure


@dataclass(frozen=True)
class SeparatedSong:
    """One song split into stems.

    Attributes:
        path: the input file.
        stems: stem name -> file written.
        seconds: length of the audio.
        sample_rate: of input and outputs, Hz.
        channels: of input and outputs.
        speed: seconds of audio per second of computing.
        notes: what was done to the audio on the way (resampled, downmixed, rescaled ...).
    """

    path: str
    stems: dict[str, str]
    seconds: float
    sample_rate: int
    channels: int
    speed: float
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SeparateResult:
    """What ``separate`` wrote and what it could not."""

    model: str
    device: str
    dtype: str
    songs: list[SeparatedSong]
    failures: list[FileFailure]
