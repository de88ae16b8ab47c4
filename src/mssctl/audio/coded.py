"""Coded audio (mp3, aac, ogg, opus, flac, wma, video files): all of it, or the reason why not."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mssctl.audio import container, flac, mpeg, ogg
from mssctl.audio.container import Stream
from mssctl.audio.errors import bytes_missing, cut_off
from mssctl.audio.extent import Extent, extent
from mssctl.audio.part import Layout, Part, Range
from mssctl.audio.source import Facts, Note, silent

_THOROUGH = {"flac": flac.layout, "ogg": ogg.layout}  # look at all bytes if the whole is read
_LOOK = 1 << 28  # bytes in which the first samples are looked for
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
        status = path.stat()
        version = status.st_size, status.st_mtime_ns, status.st_ino
        self._path = path
        self._number = number
        self._extent, self._stream, self._layout = _look(path, number, version)
        self._padded = self._stream.demuxer.startswith(("mov", "mp3", "ogg"))

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
            self._layout.stated,
            tuple(notes),
            stream.audio_streams,
        )

    def whole(self, note: Note) -> Iterator[NDArray[np.float32]]:
        """All samples; pages of Ogg, FLAC's checksum and stated lengths are checked."""
        if self._extent.after:
            note(f"{self._extent.after} bytes after the end of the container are not read")
        layout = self._layout
        if self._stream.demuxer in _THOROUGH:
            layout = _THOROUGH[self._stream.demuxer](self._path, thorough=True)
        for text in layout.notes:
            note(text)
        blocks = self._decoded(layout, note)
        if len(layout.parts) > 1:
            note(f"{len(layout.parts)} streams one after the other: read as one")
            yield from blocks
        else:
            yield from self._without_padding(blocks, note)

    def excerpt(self, start: int) -> Iterator[NDArray[np.float32]]:
        """Samples from ``start`` on, to the stated end."""
        if len(self._layout.parts) > 1:
            yield from _from(self._decoded(self._layout, silent), start)
            return
        left = None if self._stream.stated is None else max(0, self._stream.stated - start)
        for block in self._decoded(self._layout, silent, start):
            if left is not None and self._padded:
                block = block[:, :left]  # noqa: PLW2901 (what follows is padding)
                left -= block.shape[1]
            yield block

    def _decoded(self, layout: Layout, note: Note, start: int = 0) -> Iterator[NDArray[np.float32]]:
        """The streams of the file, one after the other; from ``start`` on if it is one."""
        done = 0
        for ranges in layout.parts:
            with Part(self._path, ranges) as file:
                for block in container.decode(
                    self._path,
                    file,
                    self._stream,
                    note,
                    start=start,
                    before=done / self._stream.sample_rate,
                ):
                    done += block.shape[1]
                    yield block

    def _without_padding(
        self, blocks: Iterator[NDArray[np.float32]], note: Note
    ) -> Iterator[NDArray[np.float32]]:
        """What players play: not the padding of the last frame, where the length is stated."""
        stated = self._stream.stated if self._padded else None
        done = 0
        held: list[NDArray[np.float32]] = []  # beyond the stated end
        for block in blocks:
            inside = block.shape[1] if stated is None else max(0, stated - done)
            done += block.shape[1]
            if inside:
                yield block[:, :inside]
            if block.shape[1] > inside:
                held.append(block[:, inside:])
        surplus = sum(block.shape[1] for block in held)
        if surplus < _PADDING:
            done -= surplus
        else:
            yield from held
        self._compare(done, note)

    def _compare(self, done: int, note: Note) -> None:
        """Samples that came against samples that were stated."""
        stated, rate = self._stream.stated, self._stream.sample_rate
        if stated is None:
            return
        if done < stated and self._stream.demuxer != "ogg":  # whose pages are all there
            raise cut_off(self._path, done / rate, stated / rate)
        if done != stated:
            note(f"{done / rate:.3f} s of audio, all read; its header states {stated / rate:.3f} s")


@lru_cache(maxsize=4_096)
def _look(path: Path, number: int, version: tuple[int, ...]) -> tuple[Extent, Stream, Layout]:
    """What a file is, kept for the many excerpts that training reads of it.

    Args:
        path: of the file.
        number: which of its audio streams.
        version: its size, and what else changes when the file does.

    Raises:
        MssctlError: not audio, or shorter than its header states.
    """
    size, *_ = version
    found = extent(path)
    ranges: tuple[Range, ...] = ((0, size - found.after),)
    stream = _inspected(path, ranges, number)
    if found.missing:
        raise bytes_missing(path, found.missing)
    if stream.demuxer in ("mp3", "aac"):
        layout = mpeg.layout(path, stream.demuxer) or Layout((ranges,))
        stream = replace(stream, stated=layout.stated)
    elif stream.demuxer == "flac":
        layout = flac.layout(path)
    elif stream.demuxer == "ogg":
        layout = ogg.layout(path)
        layout = replace(layout, stated=stream.stated if len(layout.parts) == 1 else None)
    else:
        layout = Layout((ranges,), stream.stated)
    if layout.parts[0] != ranges:
        first = _inspected(path, layout.parts[0], number)
        stream = replace(first, stated=stream.stated)
    return found, stream, layout


def _inspected(path: Path, ranges: tuple[Range, ...], number: int) -> Stream:
    with Part(path, ranges, limit=_LOOK) as file:
        return container.inspect(path, file, number)


def _from(blocks: Iterator[NDArray[np.float32]], start: int) -> Iterator[NDArray[np.float32]]:
    for block in blocks:
        if block.shape[1] > start:
            yield block[:, start:]
        start = max(0, start - block.shape[1])
