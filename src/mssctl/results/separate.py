"""What `mssctl separate` gives."""

from dataclasses import dataclass, field

from mssctl.results.common import FileFailure


@dataclass(frozen=True)
class SeparatedSong:
    """One song split into stems.

    Attributes:
        path: the input file.
        stems: stem name -> file written.
        seconds: length of the stems.
        sample_rate: of the stems, Hz.
        channels: of input and outputs.
        speed: seconds of audio per second of computing.
        notes: what was done to the audio on the way (resampled, downmixed, rescaled ...).
        gain: of all stems; they add up to the input times this.
        page: to hear the stems in, if one was asked for.
    """

    path: str
    stems: dict[str, str]
    seconds: float
    sample_rate: int
    channels: int
    speed: float
    notes: list[str] = field(default_factory=list)
    gain: float = 1.0
    page: str | None = None


@dataclass(frozen=True)
class SeparateResult:
    """What ``separate`` wrote and what it could not.

    Attributes:
        model: its name.
        device: it ran on.
        dtype: inside the model.
        songs: that were separated.
        failures: those that were not.
        license: of the weights, as stated; ``not stated`` where it is not.
        license_accepted: when the user accepted that.
        source: where the weights came from, and the sha256 of their files.
    """

    model: str
    device: str
    dtype: str
    songs: list[SeparatedSong]
    failures: list[FileFailure]
    license: str = "not stated"
    license_accepted: str | None = None
    source: str | None = None
    source_sha256: str | None = None
