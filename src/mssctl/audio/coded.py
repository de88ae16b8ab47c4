"""Coded audio (mp3, aac, ogg, opus, flac, wma, video files): all of it, or the reason why not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from mssctl.audio import mpeg, ogg, packets
from mssctl.audio.errors import bytes_missing, cut_off
from mssctl.audio.extent import extent
from mssctl.audio.source import Facts, Note, silent

_MPEG_SLACK = 4_096  # samples: encoders count their delay and their last frame differently
_PADDING = 4_096  # samples: the most that an encoder adds to fill its last frame


class CodedSource:
    """A file that FFmpeg's libraries decode, see `mssctl.audio.source.Source`.

    Args:
        path: of the file.
        number: which of its audio streams.

    Raises:
        MssctlError: not audio, or shorter than its header states.
    """

    def __init__(self, path: Path, number: int = 0) -> None:
        self._path = path
        self._number = number
        self._extent = extent(path)
        with path.open("rb", buffering=0) as file:
            self._stream = packets.inspect(path, file, number)
        self._padded = self._stream.demuxer.startswith(("mov", "mp3"))
        missing = self._extent.missing
        if self._stream.demuxer == "mp3":
            missing = mpeg.stated_length(path).missing
        if missing:
            raise bytes_missing(path, missing)

    @property
    def facts(self) -> Facts:
        """What the container and the first samples state."""
        stream = self._stream
        notes = []
        if stream.audio_streams > 1 and not self._number:
            notes.append(f"{stream.audio_streams} audio streams: the first is used")
        return Facts(
            stream.sample_rate,
            stream.channels,
            stream.subtype,
            stream.stated,
            tuple(notes),
            stream.audio_streams,
        )

    def whole(self, note: Note) -> Iterator[NDArray[np.float32]]:
        """All samples; pages of Ogg, FLAC's checksum and stated lengths are checked."""
        if self._extent.after:
            note(f"{self._extent.after} bytes after the end of the file's structure are not read")
        if self._stream.demuxer == "ogg":
            yield from self._links(note)
        elif self._padded:
            yield from self._without_padding(note)
        else:
            yield from self._to_the_end(note)

    def excerpt(self, start: int) -> Iterator[NDArray[np.float32]]:
        """Samples from ``start`` on, to the stated end."""
        if self._stream.demuxer == "ogg" and ogg.is_chained(self._path):
            blocks = self._links(silent)
            yield from _from(blocks, start)
            return
        left = None if self._stream.stated is None else max(0, self._stream.stated - start)
        with self._path.open("rb", buffering=0) as file:
            for block in packets.decode(self._path, file, self._stream, silent, start):
                if left is not None and self._padded:
                    block = block[:, :left]  # noqa: PLW2901 (what follows is padding)
                    left -= block.shape[1]
                yield block

    def _to_the_end(self, note: Note) -> Iterator[NDArray[np.float32]]:
        done = 0
        with self._path.open("rb", buffering=0) as file:
            for block in packets.decode(self._path, file, self._stream, note):
                done += block.shape[1]
                yield block
        self._compare(done, note)

    def _links(self, note: Note) -> Iterator[NDArray[np.float32]]:
        """The streams of an Ogg file, one after the other."""
        links, after = ogg.check_pages(self._path)
        if after:
            note(f"{after} bytes after the last Ogg page are not read")
        if len(links) > 1:
            note(f"{len(links)} streams one after the other: read as one")
        if not all(link.ended for link in links):
            note("no mark at the end of the Ogg stream: the file may be cut off")
        with self._path.open("rb", buffering=0) as file:
            for link in links:
                part = cast("BinaryIO", _Part(file, link.start, link.stop))
                yield from packets.decode(self._path, part, self._stream, note)

    def _without_padding(self, note: Note) -> Iterator[NDArray[np.float32]]:
        """What players play of an mp4 or mp3: without the padding of the last frame."""
        stated = self._stream.stated
        done = 0
        held: list[NDArray[np.float32]] = []  # beyond the stated end
        with self._path.open("rb", buffering=0) as file:
            for block in packets.decode(self._path, file, self._stream, note):
                inside = block.shape[1] if stated is None else max(0, stated - done)
                done += block.shape[1]
                if inside:
                    yield block[:, :inside]
                if block.shape[1] > inside:
                    held.append(block[:, inside:])
        surplus = sum(block.shape[1] for block in held)
        if surplus >= _PADDING:
            yield from held
        self._compare(done - surplus if surplus < _PADDING else done, note)

    def _compare(self, done: int, note: Note) -> None:
        """Samples that came against samples that were stated."""
        stated, rate = self._stream.stated, self._stream.sample_rate
        if stated is None:
            return
        slack = _MPEG_SLACK if self._stream.demuxer == "mp3" else 0
        if done + slack < stated:
            raise cut_off(self._path, done / rate, stated / rate)
        if done != stated:
            note(f"{done / rate:.3f} s of audio, all read; its header states {stated / rate:.3f} s")


def _from(blocks: Iterator[NDArray[np.float32]], start: int) -> Iterator[NDArray[np.float32]]:
    for block in blocks:
        if block.shape[1] > start:
            yield block[:, start:]
        start = max(0, start - block.shape[1])


class _Part(io.RawIOBase):
    """Bytes ``[start, stop)`` of a file as a file."""

    def __init__(self, file: io.FileIO, start: int, stop: int) -> None:
        super().__init__()
        self._file = file
        self._start = start
        self._size = stop - start
        self._at = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """And moved in."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to ``offset`` from the beginning, here, or the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes."""
        left = max(0, self._size - self._at)
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size < 0 else min(size, left)) or b""
        self._at += len(data)
        return data
