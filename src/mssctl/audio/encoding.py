"""How samples lie in a file that is written."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Encoding:
    """Container and sample format of a file.

    Attributes:
        container: as libsndfile names it (``WAV``, ``WAVEX``, ``RF64``, ``AIFF``, ``FLAC``,
            ``OGG``), or ``MP3``, ``M4A``, ``OPUS``.
        subtype: ``PCM_16``, ``PCM_24``, ``FLOAT``, or the name of a lossy codec.
        bits: of integers; None for floats and lossy codecs.
        bitrate: of a lossy codec, kbit/s.
    """

    container: str = "WAV"
    subtype: str = "PCM_16"
    bits: int | None = 16
    bitrate: int | None = None

    @property
    def lossy(self) -> bool:
        """Whether samples come back only roughly."""
        return self.bits is None and self.subtype != "FLOAT"

    @property
    def bytes_per_sample(self) -> int:
        """In the file, at most; a guess for what packs samples."""
        return 1 if self.lossy or self.container == "FLAC" else (self.bits or 32) // 8


WAV_FLOAT = Encoding("WAV", "FLOAT", None)
W64_FLOAT = Encoding("W64", "FLOAT", None)
FLAC_16 = Encoding("FLAC")
