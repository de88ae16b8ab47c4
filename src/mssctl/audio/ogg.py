"""The pages of an Ogg file: their checksums, their order, and where one stream follows another.

Decoders drop a damaged page and go on, which shifts everything after it. So the pages are checked
before the packets in them are decoded. Source: RFC 3533.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mssctl.audio.errors import cut_off, damaged

_HEADER = struct.Struct("<4sBBqIIIB")
_FIRST, _LAST = 2, 4  # flags of a page: it begins or ends its logical stream
_OPUS_RATE = 48_000  # granule positions of Opus count at this rate, whatever the input had
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_SEARCH = 1 << 20  # bytes in which a lost page is looked for


@dataclass
class Link:
    """One of the streams that follow each other in a chained file: bytes ``[start, stop)``."""

    start: int
    stop: int
    ended: bool  # every logical stream in it has its end mark


@dataclass(frozen=True)
class _Page:
    offset: int
    size: int
    flags: int
    granule: int
    serial: int
    sequence: int
    body: bytes


@dataclass
class _Walk:
    """What is known of a link while its pages pass."""

    start: int
    rates: dict[int, int] = field(default_factory=dict)  # by serial number, Hz; 0: no audio
    sequences: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    seconds: float = 0.0
    headers_only: bool = True

    def take(self, page: _Page, path: Path) -> None:
        if page.flags & _FIRST:
            self.rates[page.serial] = _granule_rate(page.body)
        else:
            self.headers_only = False
            if page.sequence != self.sequences.get(page.serial, -1) + 1:
                raise damaged(path, self.seconds, "a page of the Ogg stream is missing")
        self.sequences[page.serial] = page.sequence
        if page.flags & _LAST:
            self.ended.add(page.serial)
        rate = self.rates.get(page.serial, 0)
        if rate and page.granule > 0:
            self.seconds = page.granule / rate

    def link(self, stop: int) -> Link:
        return Link(self.start, stop, self.ended >= set(self.rates))


def check_pages(path: Path) -> tuple[list[Link], int]:
    """Walk all pages of a file.

    Returns:
        Its links in order (more than one for a chained file), and how many bytes after the last
        page belong to none.

    Raises:
        MssctlError: a page fails its checksum, is missing, or is cut off.
    """
    links: list[Link] = []
    walk = _Walk(0)
    end = 0
    with path.open("rb") as file:
        for page in _pages(file, path, walk):
            if page.flags & _FIRST and not walk.headers_only:  # a new link begins
                links.append(walk.link(page.offset))
                before = walk.seconds
                walk = _Walk(page.offset)
                walk.seconds = before
            walk.take(page, path)
            end = page.offset + page.size
        size = file.seek(0, 2)
    links.append(walk.link(end))
    return links, size - end


def is_chained(path: Path) -> bool:
    """Whether other streams follow the first ones: a look at both ends of the file only."""
    with path.open("rb") as file:
        head = file.read(65_536)
        size = file.seek(0, 2)
        file.seek(max(0, size - 2 * 65_536))
        tail = file.read()
    first = {
        struct.unpack_from("<I", head, at + 14)[0] for at in _marks(head) if head[at + 5] & _FIRST
    }
    opening = {struct.unpack_from("<I", head, at + 14)[0] for at in _opening(head)}
    last = {struct.unpack_from("<I", tail, at + 14)[0] for at in _marks(tail)}
    return bool((first | last) - opening)


def _marks(data: bytes) -> Iterator[int]:
    """Where pages seem to begin."""
    at = data.find(b"OggS\0")
    while 0 <= at <= len(data) - _HEADER.size:
        yield at
        at = data.find(b"OggS\0", at + 4)


def _opening(head: bytes) -> Iterator[int]:
    """The pages that open the streams of the first link: those before any other page."""
    for at in _marks(head):
        if not head[at + 5] & _FIRST:
            return
        yield at


def _pages(file: BinaryIO, path: Path, walk: _Walk) -> Iterator[_Page]:
    """Pages with a good checksum, in order, until the file or its pages end."""
    offset = 0
    while True:
        header = file.read(_HEADER.size)
        if not header.startswith(b"OggS\0"):
            file.seek(offset)
            if b"OggS\0" in file.read(_SEARCH) or not offset:
                raise damaged(path, walk.seconds, "a page of the Ogg stream is unreadable")
            return
        if len(header) < _HEADER.size:
            raise cut_off(path, walk.seconds)
        _, _, flags, granule, serial, sequence, checksum, count = _HEADER.unpack(header)
        lacing = file.read(count)
        body = file.read(sum(lacing))
        if len(lacing) < count or len(body) < sum(lacing):
            raise cut_off(path, walk.seconds)
        if _crc(header[:22] + bytes(4) + header[26:] + lacing + body) != checksum:
            raise damaged(path, walk.seconds, "a page of the Ogg stream fails its checksum")
        size = len(header) + count + len(body)
        yield _Page(offset, size, flags, granule, serial, sequence, body)
        offset += size


def _crc(data: bytes) -> int:
    """Ogg's CRC-32: zlib's polynomial with bits in the other order, no inversions."""
    reflected = zlib.crc32(data.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


def _granule_rate(packet: bytes) -> int:
    """Samples per second that granule positions of a stream count, from its first packet."""
    if packet.startswith(b"OpusHead"):
        return _OPUS_RATE
    if packet.startswith(b"\x01vorbis") and len(packet) >= 16:
        return int(struct.unpack_from("<I", packet, 12)[0])
    if packet.startswith(b"\x7fFLAC") and len(packet) >= 34:
        return int.from_bytes(packet[27:30], "big") >> 4
    if packet.startswith(b"Speex   ") and len(packet) >= 40:
        return int(struct.unpack_from("<I", packet, 36)[0])
    return 0
