"""The formats that stems are written in, and how samples lie in the files."""

from dataclasses import dataclass

from mssctl.audio.encoding import Encoding
from mssctl.audio.files import AudioInfo
from mssctl.errors import ExitCode, MssctlError
from mssctl.options.separate import BitDepth, ClipMode, Format

_WAV_LIMIT = 0xFFFF_0000  # bytes of samples; a plain WAV file counts in 32 bits
_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_AAC_RATES = (*_MP3_RATES, 64_000, 88_200, 96_000)
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_FINER_THAN_16 = {"PCM_24", "PCM_32", "ALAC_24", "ALAC_32", "ALAC_20"}
_FLOATS = {"FLOAT", "DOUBLE"}
_PRECISION = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 25, "PCM_32": 32, "DOUBLE": 54}  # bits


@dataclass(frozen=True)
class Lossy:
    """What a lossy codec can hold, and its usual bit rate."""

    codec: str
    rates: tuple[int, ...] | None
    bitrate: int | None


_LOSSY = {
    "mp3": Lossy("MPEG_LAYER_III", _MP3_RATES, 320),
    "m4a": Lossy("AAC", _AAC_RATES, 256),
    "opus": Lossy("OPUS", _OPUS_RATES, 192),
    "ogg": Lossy("VORBIS", None, None),
}


@dataclass(frozen=True)
class StemFormat:
    """What a caller asks of the files of stems.

    Attributes:
        format: one of `Format`.
        bit_depth: ``auto`` keeps that of the input, 16 bit at least.
        clip_mode: for samples beyond full scale; None: ``rescale``, but ``none`` for float32.
        bitrate: of mp3, m4a and opus, kbit/s; None: the usual one.
        sample_rate: of the files, Hz; None: the song's, but 48 kHz for opus.

    Raises:
        MssctlError: two that do not go together (exit 2).
    """

    format: Format = "wav"
    bit_depth: BitDepth = "auto"
    clip_mode: ClipMode | None = None
    bitrate: int | None = None
    sample_rate: int | None = None

    def __post_init__(self) -> None:
        if self.format == "flac" and self.bit_depth == "float32":
            raise MssctlError(
                "flac holds 16 or 24 bit integers, not floats",
                hint="use `bit_depth=24`, or `format=wav`",
                exit_code=ExitCode.USAGE,
            )
        lossy = _LOSSY.get(self.format)
        if lossy and self.bit_depth != "auto":
            raise MssctlError(f"{self.format} has no bit depth", exit_code=ExitCode.USAGE)
        if self.bitrate and not (lossy and lossy.bitrate):
            raise MssctlError(
                f"`bitrate` does nothing with {self.format}",
                hint="mp3, m4a and opus have a bit rate",
                exit_code=ExitCode.USAGE,
            )

    def rate(self, song: AudioInfo) -> int:
        """Sample rate of a song's stems, Hz."""
        wanted = self.sample_rate or song.sample_rate
        # Opus is 48 kHz inside; its other rates are for calls.
        return 48_000 if self.format == "opus" and not self.sample_rate else wanted

    def encoding(self, stems: AudioInfo) -> Encoding:
        """The encoding of stems of this rate, length and depth.

        Raises:
            MssctlError: the format cannot hold their rate or channels.
        """
        channels, rate = stems.channels, stems.sample_rate
        if lossy := _LOSSY.get(self.format):
            if channels > 2 or (lossy.rates and rate not in lossy.rates):
                raise MssctlError(
                    f"{stems.path}: {self.format} cannot hold {channels} channels at {rate} Hz",
                    hint="use `format=flac` or wav, or another `sample_rate`",
                )
            return Encoding(self.format.upper(), lossy.codec, None, self.bitrate or lossy.bitrate)
        if self.format == "flac" and channels > 8:
            raise MssctlError(
                f"{stems.path}: flac cannot hold {channels} channels", hint="use `format=wav`"
            )
        bits = self._bits(stems)
        subtype = f"PCM_{bits}" if bits else "FLOAT"
        size = stems.frames * channels * (bits or 32) // 8
        if self.format == "aiff" and size > _WAV_LIMIT:
            raise MssctlError(
                f"{stems.path}: aiff cannot hold more than 4 GiB", hint="use `format=wav` or flac"
            )
        if self.format != "wav":
            return Encoding(self.format.upper(), subtype, bits)
        container = "RF64" if size > _WAV_LIMIT else "WAVEX" if channels > 2 else "WAV"
        return Encoding(container, subtype, bits)

    def notes(self, song: AudioInfo, encoding: Encoding) -> list[str]:
        """What a song loses in these files."""
        notes = []
        if (rate := self.rate(song)) != song.sample_rate:
            notes.append(f"stems at {rate} Hz, the song has {song.sample_rate} Hz")
        if encoding.lossy:
            return [*notes, f"{self.format} is lossy: the stems add up to the input only roughly"]
        if _PRECISION[encoding.subtype] < _PRECISION.get(song.subtype, 0):
            notes.append(f"{song.subtype} in, {encoding.subtype} out")
        return notes

    def _bits(self, info: AudioInfo) -> int | None:
        """Bits of integer samples; None for floats."""
        if self.bit_depth != "auto":
            return None if self.bit_depth == "float32" else int(self.bit_depth)
        if info.subtype in _FLOATS and self.format in ("wav", "aiff"):
            return None
        return 24 if info.subtype in _FLOATS | _FINER_THAN_16 else 16

    def clipping(self, encoding: Encoding) -> ClipMode:
        """What happens to samples beyond full scale; floats cannot clip."""
        return self.clip_mode or ("none" if encoding.subtype == "FLOAT" else "rescale")
