"""The formats that stems are written in, and how samples lie in the files."""

from dataclasses import dataclass

from mssctl.audio.files import AudioInfo
from mssctl.errors import ExitCode, MssctlError
from mssctl.options.separate import BitDepth, ClipMode, Format

_WAV_LIMIT = 0xFFFF_0000  # bytes of samples; a plain WAV file counts in 32 bits
_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_FINER_THAN_16 = {"PCM_24", "PCM_32", "ALAC_24", "ALAC_32", "ALAC_20"}
_FLOATS = {"FLOAT", "DOUBLE"}
_PRECISION = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 25, "PCM_32": 32, "DOUBLE": 54}  # bits


@dataclass(frozen=True)
class Encoding:
    """How samples lie in the files: libsndfile's container and subtype; ``bits`` of integers."""

    container: str
    subtype: str
    bits: int | None

    @property
    def bytes_per_sample(self) -> int:
        """In the file, at most."""
        return (self.bits or 32) // 8

    def notes(self, info: AudioInfo) -> list[str]:
        """What a song loses in these files."""
        if self.container == "MP3":
            return ["mp3 is lossy: the stems add up to the input only roughly"]
        if _PRECISION[self.subtype] < _PRECISION.get(info.subtype, 0):
            return [f"{info.subtype} in, {self.subtype} out"]
        return []


@dataclass(frozen=True)
class StemFormat:
    """What a caller asks of the files of stems.

    Attributes:
        format: ``wav``, ``flac`` or ``mp3``.
        bit_depth: ``auto`` keeps that of the input, 16 bit at least.
        clip_mode: for samples beyond full scale; None: ``rescale``, but ``none`` for float32.

    Raises:
        MssctlError: two that do not go together (exit 2).
    """

    format: Format = "wav"
    bit_depth: BitDepth = "auto"
    clip_mode: ClipMode | None = None

    def __post_init__(self) -> None:
        if self.format == "flac" and self.bit_depth == "float32":
            raise MssctlError(
                "flac holds 16 or 24 bit integers, not floats",
                hint="use `bit_depth=24`, or `format=wav`",
                exit_code=ExitCode.USAGE,
            )
        if self.format == "mp3" and self.bit_depth != "auto":
            raise MssctlError("mp3 has no bit depth", exit_code=ExitCode.USAGE)

    def encoding(self, info: AudioInfo) -> Encoding:
        """The encoding of a song's stems.

        Raises:
            MssctlError: the format cannot hold the song's rate or channels.
        """
        if self.format == "mp3":
            if info.channels > 2 or info.sample_rate not in _MP3_RATES:
                raise MssctlError(
                    f"{info.path}: mp3 cannot hold {info.channels} channels at "
                    f"{info.sample_rate} Hz",
                    hint="use `format=flac` or wav",
                )
            return Encoding("MP3", "MPEG_LAYER_III", None)
        if self.format == "flac" and info.channels > 8:
            raise MssctlError(
                f"{info.path}: flac cannot hold {info.channels} channels", hint="use `format=wav`"
            )
        bits = self._bits(info)
        subtype = f"PCM_{bits}" if bits else "FLOAT"
        if self.format == "flac":
            return Encoding("FLAC", subtype, bits)
        size = info.frames * info.channels * (bits or 32) // 8
        container = "RF64" if size > _WAV_LIMIT else "WAVEX" if info.channels > 2 else "WAV"
        return Encoding(container, subtype, bits)

    def _bits(self, info: AudioInfo) -> int | None:
        """Bits of integer samples; None for floats."""
        if self.bit_depth != "auto":
            return None if self.bit_depth == "float32" else int(self.bit_depth)
        if info.subtype in _FLOATS and self.format == "wav":
            return None
        return 24 if info.subtype in _FLOATS | _FINER_THAN_16 else 16

    def clipping(self, encoding: Encoding) -> ClipMode:
        """What happens to samples beyond full scale; floats cannot clip."""
        return self.clip_mode or ("none" if encoding.subtype == "FLOAT" else "rescale")
