"""Open a file with FFmpeg's libraries (PyAV), see what its audio is, and decode it.

A file is opened as a Python file object with an allow-list of demuxers and audio decoders: no
other file is ever opened, and only audio is decoded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags2
from av.container import InputContainer
from av.error import FFmpegError
from numpy.typing import NDArray

from mssctl.audio import flac, formats
from mssctl.audio.errors import UnknownFormatError, absurd, damaged, no_frames, unknown_kind
from mssctl.audio.packets import PacketDecoder, Skipping, frames_from
from mssctl.audio.part import Part
from mssctl.audio.source import Note, silent
from mssctl.errors import MssctlError

_MAX_STREAMS = 256
_READ = 1 << 18  # bytes read at once
_DSF_BLOCK = 4_096  # bytes of a channel
_EDIT_LIST_TICKS = 1_000  # per second; the coarsest that edit lists usually count
_JOINED = 8_192  # samples of small frames that are handled as one
_LAST_PACKET = 4_096  # samples by which a duration may exceed the packets

# FFmpeg's sample formats in libsndfile's words; s32 holds the 24 bits of lossless codecs.
_DEPTHS = {"u8": "PCM_16", "s16": "PCM_16", "s32": "PCM_24", "flt": "FLOAT", "dbl": "DOUBLE"}
_LOSSLESS = frozenset("alac wavpack tta ape tak flac mlp truehd shorten als".split())

# Codecs whose decoder is in the state of the whole file again after half a second, to the last
# bit. Others carry a state on (ADPCM, Opus at low rates) or add random noise (AAC, AC-3).
_EXACT_SOON = frozenset("alac flac mp3 tta wavpack".split())


@dataclass(frozen=True)
class Stream:
    """What the audio stream of a container is.

    Attributes:
        number: which of the file's audio streams.
        demuxer: FFmpeg's name of the container's format.
        codec: FFmpeg's name of the decoder.
        sample_rate: Hz.
        channels: per sample.
        sample_format: FFmpeg's, without the suffix for planes.
        stated: samples per channel that the file states, None if it states none.
        skipping: how packets can be passed over without decoding, if they can.
        audio_streams: in the file.
    """

    number: int
    demuxer: str
    codec: str
    sample_rate: int
    channels: int
    sample_format: str
    stated: int | None
    skipping: Skipping | None
    audio_streams: int

    @property
    def subtype(self) -> str:
        """Sample format in libsndfile's words; the codec's name for what is lossy."""
        if self.codec in _LOSSLESS or self.codec.startswith("pcm_"):
            return _DEPTHS[self.sample_format]
        return self.codec.upper()


@contextmanager
def _opened(
    path: Path, file: Part, number: int = 0
) -> Iterator[tuple[InputContainer, AudioStream]]:
    """Open a container and one of its audio streams.

    Raises:
        UnknownFormatError: no allowed demuxer recognizes it.
        MssctlError: no audio, or absurd numbers of streams, channels or hertz.
    """
    options = {"format_whitelist": formats.DEMUXERS, "codec_whitelist": formats.audio_decoders()}
    try:
        container = av.open(
            file, "r", metadata_errors="replace", container_options=options, buffer_size=_READ
        )
    except (FFmpegError, ValueError):
        raise UnknownFormatError(
            f"{path}: not an audio file, or of an unknown format",
            hint="wav, flac, mp3, ogg, m4a, opus, wma, webm, mp4 and many others are read",
        ) from None
    with container:
        streams = container.streams
        if number >= len(streams.audio):
            found = len(streams.audio) or "no"
            raise MssctlError(f"{path}: {found} audio streams", hint="give a file with sound")
        stream = streams.audio[number]
        # A stream without a decoder has no context, whatever PyAV's types say.
        if getattr(stream, "codec_context", None) is None:
            raise unknown_kind(path)
        if container.format.name == "caf" and stream.codec_context.name == "alac":
            # FFmpeg would take the padding off twice: ALAC's last frame states its own length.
            stream.codec_context.flags2 |= Flags2.skip_manual
        rate, channels = stream.rate or 0, stream.codec_context.channels
        # Some decoders know both only after the first frame: until then they are 0.
        if len(streams) > _MAX_STREAMS or formats.is_absurd(rate or 44_100, channels or 1):
            raise absurd(path, rate, channels)
        yield container, stream


def inspect(path: Path, file: Part, number: int = 0) -> Stream:
    """Open a file and decode its first samples.

    Raises:
        MssctlError: not audio, no audio in it, absurd numbers, or nothing can be decoded.
    """
    with _opened(path, file, number) as (container, stream):
        frame, first, lead = _first_frame(PacketDecoder(path, container, stream, silent))
        if frame.format.name.removesuffix("p") not in _DEPTHS:
            raise unknown_kind(path)
        name, codec = container.format.name, stream.codec_context.name.removesuffix("float")
        if name == "flac" and not flac.has_header(stream.codec_context):
            raise damaged(path, 0.0, "the FLAC header is missing")
        rate = frame.sample_rate
        if formats.is_absurd(rate, frame.layout.nb_channels):
            raise absurd(path, rate, frame.layout.nb_channels)
        ticks = _samples_per_tick(stream, rate)
        dropped = int(lead * (ticks or 0)) - frame.samples
        exact = codec in _EXACT_SOON or codec.startswith("pcm_")
        stated = _stated(container, stream, rate, int(first * (ticks or 0)) + dropped)
        return Stream(
            number=number,
            demuxer=name,
            codec=codec,
            sample_rate=rate,
            channels=frame.layout.nb_channels,
            sample_format=frame.format.name.removesuffix("p"),
            stated=stated,
            skipping=Skipping(ticks, dropped, seeks=name == "flac") if exact and ticks else None,
            audio_streams=len(container.streams.audio),
        )


def decode(
    path: Path, file: Part, stream: Stream, note: Note, *, start: int = 0, before: float = 0.0
) -> Iterator[NDArray[np.float32]]:
    """All samples from ``start`` on, as blocks ``(C, n)`` of any sizes.

    FLAC's checksum over all samples is compared where the file is read from its beginning.

    Args:
        path: of the file.
        file: the stream in it.
        stream: what `inspect` found.
        note: receives what a user should know.
        start: the first sample.
        before: seconds of other streams before this one.

    Raises:
        MssctlError: damaged, or the audio changes its rate or channels.
    """
    with _opened(path, file, stream.number) as (container, source):
        digest = None if start else flac.Digest.of(source.codec_context)
        decoder = PacketDecoder(path, container, source, note, before)
        end, late = _vorbis_end(container, source), list[NDArray[np.generic]]()
        if end is None:
            found = frames_from(decoder, start, stream.skipping)
        else:
            found = _without_lead(frames_from(decoder, 0), start)
        frames = _of_one_kind(found, decoder, stream)
        for position, frame in frames if digest else _joined(frames):
            raw = _samples(frame)
            if end is not None and position + raw.shape[1] > end:
                inside = max(0, end - position)
                late.append(raw[:, inside:])
                raw = raw[:, :inside]
            if digest and digest.complete:
                note("frames after the end that the FLAC header states are not read")
                break
            if digest:
                digest.update(raw)
            yield _as_float(raw)[:, max(0, start - position) :]
        if sum(raw.shape[1] for raw in late) >= _LAST_PACKET:  # no padding: the end is stated wrong
            yield from map(_as_float, late)
        if digest:
            digest.check(path)


def _vorbis_end(container: InputContainer, stream: AudioStream) -> int | None:
    """Samples of an Ogg Vorbis stream, where they are counted here; None: FFmpeg cuts it.

    FFmpeg takes the first block, which only primes the decoder, for music where the first page
    holds few packets: its clock is late then, and it cuts the last samples off.
    """
    if container.format.name != "ogg" or stream.codec_context.name != "vorbis":
        return None
    ticks = _samples_per_tick(stream, stream.rate or 1)
    if ticks is None or stream.duration is None or stream.start_time:
        return None
    stream.codec_context.flags2 |= Flags2.skip_manual
    return int(stream.duration * ticks)


def _without_lead(
    frames: Iterator[tuple[int, AudioFrame]], start: int
) -> Iterator[tuple[int, AudioFrame]]:
    """Frames with samples from ``start`` on, without the first, which primes the decoder."""
    lead = 0
    for position, frame in frames:
        if position == 0:
            lead = frame.samples
        elif position - lead + frame.samples > start:
            yield position - lead, frame


def _of_one_kind(
    frames: Iterator[tuple[int, AudioFrame]], decoder: PacketDecoder, stream: Stream
) -> Iterator[tuple[int, AudioFrame]]:
    """The frames.

    Raises:
        MssctlError: one of them has another rate or other channels.
    """
    expected = stream.sample_rate, stream.channels
    for position, frame in frames:
        if (frame.sample_rate, frame.layout.nb_channels) != expected:
            raise MssctlError(
                f"{decoder.path}: changes from {stream.sample_rate} Hz, {stream.channels} channels "
                f"to {frame.sample_rate} Hz, {frame.layout.nb_channels} channels at "
                f"{decoder.seconds(position):.2f} s",
                hint="cut it into files of one kind",
            )
        yield position, frame


def _joined(frames: Iterator[tuple[int, AudioFrame]]) -> Iterator[tuple[int, AudioFrame]]:
    """The same samples in fewer frames: handling one costs more than decoding 300 samples."""
    fifo, begin = AudioFifo(), 0
    for position, frame in frames:
        kind = frame.format.name, frame.layout.name
        if fifo.samples >= _JOINED or (
            fifo.samples and kind != (fifo.format.name, fifo.layout.name)
        ):
            yield from _taken(fifo, begin)
            fifo = AudioFifo()
        begin = begin if fifo.samples else position
        frame.pts = None  # the container's clock, which may have gaps
        fifo.write(frame)
    yield from _taken(fifo, begin)


def _taken(fifo: AudioFifo, begin: int) -> Iterator[tuple[int, AudioFrame]]:
    """All that is in ``fifo`` as one frame, if there is any."""
    if (frame := fifo.read() if fifo.samples else None) is not None:
        yield begin, frame


def _first_frame(decoder: PacketDecoder) -> tuple[AudioFrame, int, int]:
    """The first frame; the time of the first packet; how long the packets up to the frame are.

    Raises:
        MssctlError: nothing can be decoded.
    """
    first: int | None = None
    lead = 0
    for packet in decoder.packets():
        first = (packet.pts or 0) if first is None else first
        lead += packet.duration or 0
        for frame in decoder.decode(packet, 0):
            if frame.samples:
                return frame, first, lead
    decoder.finish()
    raise no_frames(decoder.path)


def _stated(container: InputContainer, stream: AudioStream, rate: int, begin: int) -> int | None:
    """Samples per channel by the file's own statement.

    Args:
        container: of the stream.
        stream: the audio.
        rate: Hz.
        begin: position of the first sample that is heard, by the container's clock.
    """
    name = container.format.name
    ticks = _samples_per_tick(stream, rate)
    if name == "flac":
        return flac.stated_length(stream.codec_context)
    if ticks is None or stream.duration is None:
        return None
    if name == "ogg":  # a recording that was cut out of a longer one does not start at 0
        head = stream.codec_context.extradata or b""
        skip = int.from_bytes(head[10:12], "little") if head.startswith(b"OpusHead") else 0
        return None if stream.start_time else int(stream.duration * ticks) - skip
    if not formats.states_length(name):
        return None
    frames = int(stream.duration * ticks)
    if name.startswith("mov"):
        if len(stream.index_entries) > stream.frames > 0:  # an edit list repeats packets
            return None
        # Edit lists often count in milliseconds only; the sample table counts samples.
        end = int(_last_tick(container, stream) * ticks) - begin
        if end - rate // _EDIT_LIST_TICKS <= frames <= end + _LAST_PACKET:
            frames = end  # otherwise the edit list ends earlier, or packets are missing
    elif name == "dsf":  # FFmpeg counts whole blocks, but reads what the header states
        end = int(_last_tick(container, stream) * ticks)
        frames = end if end > frames - _DSF_BLOCK else frames
    return frames if frames > 0 else None


def _last_tick(container: InputContainer, stream: AudioStream) -> int:
    """Where the last packet ends, by the container's clock."""
    try:
        container.seek(stream.duration or 0, stream=stream)
    except FFmpegError:  # the duration is wrong: look at all packets
        container.seek(0, stream=stream)
    return max(
        ((packet.pts or 0) + (packet.duration or 0) for packet in container.demux(stream)),
        default=0,
    )


def _samples_per_tick(stream: AudioStream, rate: int) -> Fraction | None:
    """Samples per unit of the container's clock, if it can distinguish neighboring samples."""
    ticks = Fraction(stream.time_base or 0) * rate
    return ticks if ticks.numerator == 1 else None


def _samples(frame: AudioFrame) -> NDArray[np.generic]:
    """Samples ``(C, n)`` in the decoder's own type."""
    data = frame.to_ndarray()
    return data if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels).T


def _as_float(samples: NDArray[np.generic]) -> NDArray[np.float32]:
    """Full scale becomes 1."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / np.float32(128)
    if samples.dtype.kind == "i":
        scale = np.float32(1 / 2 ** (8 * samples.itemsize - 1))
        return samples.astype(np.float32) * scale
    return samples.astype(np.float32, copy=False)
