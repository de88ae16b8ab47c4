"""Decode audio with FFmpeg's libraries (PyAV), packet by packet, so that damage shows.

A file is opened as a Python file object with an allow-list of demuxers and audio decoders: no
other file is ever opened, and only audio is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags2
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from numpy.typing import NDArray

from mssctl.audio import flac, formats, mpeg, ogg
from mssctl.audio.errors import UnknownFormatError, check_numbers, cut_off, damaged
from mssctl.audio.part import Part
from mssctl.audio.source import Note, silent
from mssctl.errors import MssctlError

_MAX_IDLE = 20_000  # packets in a row that give no sample
_READ = 1 << 18  # bytes read at once
_PREROLL = 0.5  # seconds decoded before an excerpt, until the decoder's state is the file's

# FFmpeg's sample formats in libsndfile's words; s32 holds the 24 bits of lossless codecs.
_DEPTHS = {"u8": "PCM_16", "s16": "PCM_16", "s32": "PCM_24", "s64": "PCM_32", "flt": "FLOAT"}
_LOSSLESS = {"alac", "wavpack", "tta", "ape", "tak", "flac", "mlp", "truehd", "shorten", "als"}


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
        skips: packets can be passed over without decoding: the decoder's state is the same again
            after half a second, and each packet says how many samples it holds. (AAC fills bands
            with random noise, Vorbis packets in Ogg do not say it.)
        audio_streams: in the file.
    """

    number: int
    demuxer: str
    codec: str
    sample_rate: int
    channels: int
    sample_format: str
    stated: int | None
    skips: bool
    audio_streams: int

    @property
    def subtype(self) -> str:
        """Sample format in libsndfile's words; the codec's name for what is lossy."""
        if self.codec in _LOSSLESS or self.codec.startswith("pcm_"):
            return _DEPTHS.get(self.sample_format, "DOUBLE")
        return self.codec.upper()


@contextmanager
def opened(path: Path, file: Part, number: int = 0) -> Iterator[tuple[InputContainer, AudioStream]]:
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
        if number >= len(container.streams.audio):
            found = len(container.streams.audio) or "no"
            raise MssctlError(f"{path}: {found} audio streams", hint="give a file with sound")
        stream = container.streams.audio[number]
        # A stream without a decoder has no context, whatever PyAV's types say.
        if getattr(stream, "codec_context", None) is None:
            raise MssctlError(
                f"{path}: audio of an unknown kind", hint="convert it to wav or flac first"
            )
        if container.format.name == "caf" and stream.codec_context.name == "alac":
            # FFmpeg would take the padding off twice: ALAC's last frame states its own length.
            stream.codec_context.flags2 |= Flags2.skip_manual
        rate, channels = stream.rate or 0, stream.codec_context.channels
        check_numbers(path, rate, channels, len(container.streams))
        yield container, stream


def inspect(path: Path, file: Part, number: int = 0) -> Stream:
    """Open a file and decode its first samples.

    Raises:
        MssctlError: see `opened`; or nothing in it can be decoded.
    """
    with opened(path, file, number) as (container, stream):
        _, frame = next(_frames(_PacketDecoder(path, container, stream, silent), 0), (0, None))
        if frame is None:
            raise MssctlError(f"{path}: no audio frames", hint="check that the file is complete")
        if container.format.name == "flac" and not flac.has_header(stream.codec_context):
            raise damaged(path, 0.0, "the FLAC header is missing")
        name, codec = container.format.name, stream.codec_context.name.removesuffix("float")
        return Stream(
            number=number,
            demuxer=name,
            codec=codec,
            sample_rate=frame.sample_rate,
            channels=frame.layout.nb_channels,
            sample_format=frame.format.name.removesuffix("p"),
            stated=_stated(path, container, stream, frame.sample_rate),
            skips=codec not in ("aac", "vorbis")
            and _samples_per_tick(stream, frame.sample_rate) is not None
            and not (name == "mp3" and mpeg.stated_length(path).joined),
            audio_streams=len(container.streams.audio),
        )


def decode(
    path: Path, file: Part, stream: Stream, note: Note, start: int = 0
) -> Iterator[NDArray[np.float32]]:
    """All samples from ``start`` on, as blocks ``(C, n)`` of the codec's own sizes.

    FLAC's checksum over all samples is compared where the file is read from its beginning.

    Raises:
        MssctlError: damaged, or the audio changes its rate or channels.
    """
    with opened(path, file, stream.number) as (container, source):
        digest = None if start else flac.Digest.of(source.codec_context)
        decoder = _PacketDecoder(path, container, source, note)
        for position, frame in _frames(decoder, start, skips=stream.skips):
            if (frame.sample_rate, frame.layout.nb_channels) != (
                stream.sample_rate,
                stream.channels,
            ):
                raise MssctlError(
                    f"{path}: changes from {stream.sample_rate} Hz, {stream.channels} channels to "
                    f"{frame.sample_rate} Hz, {frame.layout.nb_channels} channels at "
                    f"{position / stream.sample_rate:.2f} s",
                    hint="cut it into files of one kind",
                )
            raw = _samples(frame)
            if digest and digest.complete:
                note("frames after the end that the FLAC header states are not read")
                break
            if digest:
                digest.update(raw)
            block = _as_float(raw)
            yield block[:, max(0, start - position) :]
        if digest:
            digest.check(path)


def _stated(path: Path, container: InputContainer, stream: AudioStream, rate: int) -> int | None:
    """Samples per channel by the file's own statement."""
    name = container.format.name
    if name == "flac":
        return flac.stated_length(stream.codec_context)
    if name == "mp3":
        return mpeg.stated_length(path).frames
    if stream.duration is None or not (formats.states_length(name) or name == "ogg"):
        return None
    ticks = _samples_per_tick(stream, rate)
    if ticks is None or (name == "ogg" and ogg.is_chained(path)):
        return None
    frames = int(stream.duration * ticks)
    if name == "ogg":
        head = stream.codec_context.extradata or b""
        return frames - int.from_bytes(head[10:12], "little") * head.startswith(b"OpusHead")
    return _by_sample_table(container, stream, frames, rate) if name.startswith("mov") else frames


def _by_sample_table(container: InputContainer, stream: AudioStream, frames: int, rate: int) -> int:
    """Where the last packet of an mp4 ends, unless its edit list ends earlier.

    Edit lists often count in milliseconds only; the sample table counts samples.
    """
    container.seek(stream.duration or 0, stream=stream)
    ticks = (stream.time_base or 0) * rate
    last = max(
        ((packet.pts or 0) + (packet.duration or 0) for packet in container.demux(stream)),
        default=0,
    )
    end = int(last * ticks)
    return frames if frames < end - rate // 1_000 else end


def _samples_per_tick(stream: AudioStream, rate: int) -> Fraction | None:
    """Samples per unit of the container's clock, if it can tell every sample from the next."""
    ticks = Fraction(stream.time_base or 0) * rate
    return ticks if ticks.numerator == 1 else None


class _PacketDecoder:
    """Decode the packets of a container, and track the bytes in them that are not audio."""

    def __init__(
        self, path: Path, container: InputContainer, stream: AudioStream, note: Note
    ) -> None:
        self.path = path
        self.container = container
        self.stream = stream
        self.rate = stream.rate or 1
        self._note = note
        self.demuxer = container.format.name
        self._bad: list[bytes] = []  # bytes since the last good frame that are not audio
        self._bad_at = 0.0
        self._idle = 0
        self._first = True  # no frame of an mp3 has come yet
        self._last = b""  # FLAC's last packet, and whether it ends where the file does
        self._reaches_end = True

    def packets(self) -> Iterator[Packet[AudioStream]]:
        """All packets of the stream.

        Raises:
            MssctlError: the container's structure is broken.
        """
        try:
            yield from self.container.demux(self.stream)
        except FFmpegError:
            raise damaged(self.path, None, "its structure is broken") from None

    def decode(self, packet: Packet[AudioStream], position: int) -> list[AudioFrame]:
        """Frames of one packet; none if it cannot be decoded.

        Raises:
            MssctlError: audio follows bytes that are neither audio nor a tag.
        """
        seconds = position / self.rate
        self._check_first(packet)
        try:
            frames = [frame for frame in packet.decode() if frame.samples]
        except FFmpegError:
            frames = []
            self._put_aside(bytes(packet), seconds)
        if position and packet.is_corrupt and self.demuxer not in formats.PCM_DEMUXERS:
            raise cut_off(self.path, seconds)
        self._idle = 0 if frames else self._idle + 1
        if self._idle > _MAX_IDLE:
            raise damaged(self.path, seconds, f"{_MAX_IDLE} packets in a row without audio")
        if frames:
            if self._bad:
                self._resume(position)
            self._check_size(packet, seconds)
        return frames

    def _check_first(self, packet: Packet[AudioStream]) -> None:
        head = bytes(memoryview(packet)[:8])
        if self._first and self.demuxer == "mp3" and mpeg.frame_size("mp3", head):
            self._first = False
            if mpeg.needs_earlier_frames(head):
                self._note("begins in the middle of a stream: its first frames are not complete")

    def _put_aside(self, data: bytes, seconds: float) -> None:
        if not self._bad:
            self._bad_at = seconds
        self._bad.append(data)

    def _check_size(self, packet: Packet[AudioStream], seconds: float) -> None:
        """Set aside bytes between two frames: FFmpeg's parsers add them to the first one."""
        if self.demuxer == "flac":
            self._last = bytes(packet)
            self._reaches_end = (packet.pos or 0) + packet.size >= self.container.size
        elif self.demuxer in ("mp3", "aac"):
            head = bytes(memoryview(packet)[:8])
            size = mpeg.frame_size(self.demuxer, head)
            if size is not None and size != packet.size:
                self._put_aside(bytes(packet)[size:], seconds)

    def _resume(self, position: int) -> None:
        """Audio follows bytes that are not audio. Tags and leading bytes are harmless.

        Raises:
            MssctlError: the bytes are damaged audio.
        """
        size = sum(map(len, self._bad))
        if position == 0 and self.demuxer in formats.RAW:
            self._note(f"{size} bytes before the audio are skipped")
        elif self.demuxer in formats.RAW and all(mpeg.is_tag(data) for data in self._bad):
            self._note(
                f"another stream or tag begins at {self._bad_at:.2f} s; reading continues after it"
            )
        else:
            raise damaged(self.path, self._bad_at, "the audio cannot be decoded")
        self._bad = []

    def finish(self) -> None:
        """Report bytes at the end of the file that are not audio.

        Raises:
            MssctlError: the container declares them as audio.
        """
        if self._last and not (self._reaches_end and flac.ends_with_frame(self._last)):
            self._note("bytes after the end of the audio are not read")
        elif self._bad and self.demuxer not in formats.RAW:
            raise damaged(self.path, self._bad_at, "the audio cannot be decoded")
        elif self._bad and not any(map(mpeg.is_tag, self._bad)):
            size = sum(map(len, self._bad))
            what = (
                f"{size} bytes at the end are not audio" if size else "its last frame is incomplete"
            )
            self._note(f"{what} (after {self._bad_at:.2f} s): the file may be cut off")


def _frames(
    decoder: _PacketDecoder, start: int, *, skips: bool = False
) -> Iterator[tuple[int, AudioFrame]]:
    """Frames that hold samples from ``start`` on, each with the position of its first sample.

    With ``skips``, packets well before ``start`` are passed over without decoding.
    """
    ticks = (_samples_per_tick(decoder.stream, decoder.rate) if skips else None) or Fraction(0)
    decode_from = start - int(_PREROLL * decoder.rate)
    held = 0  # samples that the packets so far hold by their own account
    delay: int | None = None  # of these, how many the decoder drops at the beginning
    position = 0
    skipping = sought = False
    if ticks and decode_from > 0 and decoder.demuxer == "flac":  # its frames state their position
        decoder.container.seek(int(decode_from / ticks), stream=decoder.stream)
        delay, sought = 0, True
    for packet in decoder.packets():
        if sought and packet.pts is not None:
            held, sought = int(packet.pts * ticks), False
        begin = held
        held += int((packet.duration or 0) * ticks)
        if ticks and delay is not None and packet.duration and held - delay <= decode_from:
            skipping = True
            position = held - delay
            continue
        if skipping:
            decoder.stream.codec_context.flush_buffers()
            skipping = False
        frames = decoder.decode(packet, position)
        total = sum(frame.samples for frame in frames)
        if total and delay is None:
            delay = held - total
        elif total and ticks:
            position = begin - (delay or 0)
        for frame in frames:
            if position + frame.samples > start:
                yield position, frame
            position += frame.samples
    decoder.finish()


def _samples(frame: AudioFrame) -> NDArray[np.generic]:
    """Samples ``(C, n)`` in the decoder's own type."""
    data = frame.to_ndarray()
    return data if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels).T


def _as_float(samples: NDArray[np.generic]) -> NDArray[np.float32]:
    """Full scale becomes 1."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / np.float32(128)
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2 ** (8 * samples.itemsize - 1))
    return samples.astype(np.float32, copy=False)
