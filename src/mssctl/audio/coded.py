"""Coded audio (mp3, aac, ogg, opus, flac, wma, video files): all of it, or the reason why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mssctl.audio import flac, mpeg, ogg, packets
from mssctl.audio.errors import bytes_missing, cut_off
from mssctl.audio.extent import extent
from mssctl.audio.part import Part
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
        with Part(path) as file:
            self._stream = packets.inspect(path, file, number)
        self._padded = self._stream.demuxer.startswith(("mov", "mp3", "ogg"))
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
            note(f"{self._extent.after} bytes after the end of the container are not read")
        parts: list[tuple[int, int | None]] = [(0, None)]
        if self._stream.demuxer == "ogg":
            parts = self._ogg_links(note)
        elif self._stream.demuxer == "flac":
            parts = flac.parts(self._path)
        if len(parts) > 1:
            note(f"{len(parts)} streams one after the other: read as one")
            yield from self._decoded(parts, note)
        else:
            yield from self._without_padding(self._decoded(parts, note), note)

    def excerpt(self, start: int) -> Iterator[NDArray[np.float32]]:
        """Samples from ``start`` on, to the stated end."""
        if self._stream.demuxer == "ogg" and ogg.is_chained(self._path):
            yield from _from(self._decoded(self._ogg_links(silent), silent), start)
            return
        left = None if self._stream.stated is None else max(0, self._stream.stated - start)
        with Part(self._path) as file:
            for block in packets.decode(self._path, file, self._stream, silent, start):
                if left is not None and self._padded:
                    block = block[:, :left]  # noqa: PLW2901 (what follows is padding)
                    left -= block.shape[1]
                yield block

    def _ogg_links(self, note: Note) -> list[tuple[int, int | None]]:
        """The streams of an Ogg file that follow each other, as bytes ``[start, stop)``."""
        links, after = ogg.check_pages(self._path)
        if after:
            note(f"{after} bytes after the last Ogg page are not read")
        if not all(link.ended for link in links):
            note("no mark at the end of the Ogg stream: the file may be cut off")
        return [(link.start, link.stop) for link in links]

    def _decoded(
        self, parts: Sequence[tuple[int, int | None]], note: Note
    ) -> Iterator[NDArray[np.float32]]:
        """Parts of the file ``[start, stop)``, one after the other."""
        for start, stop in parts:
            with Part(self._path, start, stop) as file:
                yield from packets.decode(self._path, file, self._stream, note)

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
        if self._stream.demuxer != "ogg":  # its pages are checked
            self._compare(done, note)

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
