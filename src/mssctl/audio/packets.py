"""Decode the packets of a container one by one, so that damage shows, and count their samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet

from mssctl.audio import flac, formats, mpeg, tags
from mssctl.audio.errors import cut_off, damaged
from mssctl.audio.source import Note

_MAX_IDLE = 20_000  # packets in a row that give no sample
_PREROLL = 0.5  # seconds decoded before an excerpt, until the decoder's state is the file's


class PacketDecoder:
    """Decode packets, and track those that are not audio.

    Args:
        path: of the file.
        container: of the stream.
        stream: the audio.
        note: receives what a user should know.
        before: seconds of other streams in the file before this one.

    Attributes:
        path: of the file.
        container: of the stream.
        stream: the audio.
        rate: Hz.
        demuxer: FFmpeg's name of the container's format.
    """

    def __init__(
        self,
        path: Path,
        container: InputContainer,
        stream: AudioStream,
        note: Note,
        before: float = 0.0,
    ) -> None:
        self.path = path
        self.container = container
        self.stream = stream
        self.rate = stream.rate or 1
        self.demuxer = container.format.name
        self._note = note
        self._before = before
        self._bad: list[bytes] = []  # packets since the last good frame that are not audio
        self._bad_at = 0.0
        self._idle = 0
        self._packets = 0
        self._last: Packet[AudioStream] | None = None  # with audio

    def seconds(self, position: int) -> float:
        """The time of a sample in the whole file, for messages."""
        return self._before + position / self.rate

    def packets(self) -> Iterator[Packet[AudioStream]]:
        """All packets of the stream.

        Raises:
            MssctlError: the container's structure is broken.
        """
        try:
            yield from self.container.demux(self.stream)
        except (FFmpegError, IndexError):  # the latter where streams appear in mid-file
            raise damaged(self.path, None, "its structure is broken") from None

    def decode(self, packet: Packet[AudioStream], position: int) -> list[AudioFrame]:
        """Frames of one packet; none if it cannot be decoded.

        Raises:
            MssctlError: audio follows bytes that are neither audio nor a tag.
        """
        try:
            frames = packet.decode()
        except FFmpegError:
            frames = []
            if not self._bad:
                self._bad_at = self.seconds(position)
            self._bad.append(bytes(packet))
        first_of_mp3 = not self._packets and self.demuxer == "mp3"
        if first_of_mp3 and mpeg.needs_earlier_frames(bytes(memoryview(packet)[:8])):
            self._note("begins in the middle of a stream: its first frames are not complete")
        self._packets += 1
        if position and packet.is_corrupt and self.demuxer not in formats.PCM_DEMUXERS:
            raise cut_off(self.path, self.seconds(position))
        if not any(frame.samples for frame in frames):
            self._idle += 1
            if self._idle > _MAX_IDLE:
                what = f"{_MAX_IDLE} packets in a row without audio"
                raise damaged(self.path, self.seconds(position), what)
            return []
        self._idle = 0
        self._last = packet
        if self._bad:
            self._resume(position)
        return frames

    def finish(self) -> None:
        """Report bytes at the end of the file that are not audio.

        Raises:
            MssctlError: the container declares them as audio.
        """
        if self.demuxer == "flac" and self._last and not self._ends_with_frame(self._last):
            self._note("bytes after the end of the audio are not read")
        elif self._bad and self.demuxer not in formats.RAW:
            raise damaged(self.path, self._bad_at, "the audio cannot be decoded")
        elif self._bad and not all(tags.size_at(data, 0) for data in self._bad):
            size = sum(map(len, self._bad))
            self._note(
                f"{size} bytes at the end are not audio (after {self._bad_at:.2f} s): "
                "the file may be cut off"
            )

    def _ends_with_frame(self, packet: Packet[AudioStream]) -> bool:
        """Whether a FLAC packet is a frame to its last byte, and the last of the file."""
        reaches_end = (packet.pos or 0) + packet.size >= self.container.size
        return reaches_end and flac.ends_with_frame(bytes(packet))

    def _resume(self, position: int) -> None:
        """Audio follows bytes that are not audio. Tags and leading bytes are harmless.

        Raises:
            MssctlError: the bytes are damaged audio.
        """
        if position == 0 and self.demuxer in formats.RAW:
            size = sum(map(len, self._bad))
            self._note(f"{size} bytes before the audio are skipped")
        elif self.demuxer not in formats.RAW or not all(tags.size_at(d, 0) for d in self._bad):
            raise damaged(self.path, self._bad_at, "the audio cannot be decoded")
        self._bad = []


@dataclass(frozen=True)
class Skipping:
    """How packets before an excerpt are passed over without decoding.

    Attributes:
        ticks: samples per unit of the container's clock, in which packets state their length.
        dropped: samples of the first packets that the decoder drops.
        seeks: packets also state their position, so that the container can seek exactly.
    """

    ticks: Fraction
    dropped: int
    seeks: bool


def frames_from(
    decoder: PacketDecoder, start: int, skipping: Skipping | None = None
) -> Iterator[tuple[int, AudioFrame]]:
    """Frames that hold samples from ``start`` on, each with the position of its first sample.

    Raises:
        MssctlError: see `PacketDecoder`.
    """
    packets = decoder.packets()
    position = 0
    if skipping:
        packets, position = _near(decoder, packets, start, skipping)
    for packet in packets:
        for frame in decoder.decode(packet, position):
            if position + frame.samples > start:
                yield position, frame
            position += frame.samples
    decoder.finish()


def _near(
    decoder: PacketDecoder, packets: Iterator[Packet[AudioStream]], start: int, skipping: Skipping
) -> tuple[Iterator[Packet[AudioStream]], int]:
    """The packets from shortly before ``start`` on, and the position of their first sample."""
    decode_from = start - int(_PREROLL * decoder.rate)
    if decode_from <= 0:
        return packets, 0
    end = -skipping.dropped
    sought = skipping.seeks
    if sought:
        decoder.container.seek(int(decode_from / skipping.ticks), stream=decoder.stream)
    begun = sought  # the decoder has dropped what it drops
    for packet in packets:
        if sought and packet.pts is not None:
            end, sought = int(packet.pts * skipping.ticks), False
        begin = end
        end += int((packet.duration or 0) * skipping.ticks)
        if end > decode_from or not packet.duration:
            decoder.stream.codec_context.flush_buffers()
            return chain([packet], packets), max(0, begin)
        begun = begun or bool(decoder.decode(packet, 0))
    return packets, max(0, end)
