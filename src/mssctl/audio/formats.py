"""Which files count as audio, and who reads them: libsndfile for PCM, FFmpeg for the rest."""

import re
from functools import cache

# Names that say "audio": what a walk through a folder picks up.
AUDIO_SUFFIXES = frozenset(
    ".3g2 .3gp .aac .ac3 .aif .aifc .aiff .alac .amr .ape .au .caf .dff .dsf .dts .eac3 .flac .m4a "
    ".m4b .mka .mkv .mov .mp1 .mp2 .mp3 .mp4 .mpc .oga .ogg .ogv .opus .rf64 .snd .spx .tak .tta "
    ".w64 .wav .wave .webm .wma .wv".split()
)

# What files of libsndfile's PCM formats begin with. The others are never given to it: it takes an
# mp3's or a stream's estimate of its own length for the truth.
_PCM_MARKS = (
    b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"dns.", b"caff", b"NIST_1A", b"2BIT",
    b"Creative Voice File", b"PVF1", b"MATLAB 5.0", b"\x64\xa3", b"\x00\x00\xa3\x64", b"fap ",
    b" paf", b"ALawSoundFile",
)  # fmt: skip

_MPEG_IN_WAVE = re.compile(rb"fmt .{4}[\x50\x55]\0", re.DOTALL)

# FFmpeg looks into a file to find its kind. Playlists, manifests, concat scripts and devices,
# which make it open other files, are not on this list.
DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,iff,loas,"
    "matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,ogg,oma,qoa,rm,shn,sox,tak,truehd,tta,"
    "voc,w64,wav,wv,xwma"
)

# Demuxers of bare frames, one after the other: what lies between or after them is no audio.
RAW = frozenset("aac ac3 dts dtshd eac3 flac loas mlp mp3 truehd".split())

# Demuxers of PCM containers: their last packet counts as incomplete where the length is open.
PCM_DEMUXERS = frozenset("aiff au caf w64 wav".split())

# Demuxers whose files state how many samples they hold, as a number of samples.
_EXACT = frozenset("ape caf dsf mov shn tak tta wv".split())


_RATES = range(1_000, 1_536_001)  # Hz; DSD of 8 times the rate of an SACD is read at the highest
_CHANNELS = range(1, 65)


def is_absurd(rate: int, channels: int) -> bool:
    """Whether no recording has this rate and these channels, but damaged headers do."""
    return rate not in _RATES or channels not in _CHANNELS


def is_pcm(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a PCM format.

    A wave file of mp3 is none: libsndfile's decoder would print to stderr.
    """
    if head.startswith(b"RIFF") and head[8:12] not in (b"WAVE", b""):
        return False
    return head.startswith(_PCM_MARKS) and not _MPEG_IN_WAVE.search(head)


def states_length(demuxer: str) -> bool:
    """Whether files of a demuxer state their length in samples."""
    return not _EXACT.isdisjoint(demuxer.split(","))


@cache
def audio_decoders() -> str:
    """FFmpeg's audio decoders, comma separated: nothing else of a file is ever decoded."""
    import av  # noqa: PLC0415 (only for files that need it)

    def is_audio(name: str) -> bool:
        try:
            return av.codec.Codec(name, "r").type == "audio"
        except ValueError:  # can be written only
            return False

    return ",".join(name for name in sorted(av.codecs_available) if is_audio(name))
