"""The pages of an Ogg file: their checksums, their order, and where one stream follows another.

Decoders drop a damaged page and continue, which shifts everything after it. So the pages are
checked before the packets in them are decoded. Source: RFC 3533.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path

from mssctl.audio.errors import cut_off, damaged
from mssctl.audio.part import Layout

_HEADER = struct.Struct("<4sBBqIIIB")
_FIRST, _LAST = 2, 4  # flags of a page: it begins or ends its logical stream
_OPUS_RATE = 48_000  # granule positions of Opus count at this rate, whatever the input had
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_MARK = b"OggS\0"
_SEARCH = 1 << 28  # bytes in which a lost page is looked for
_HEAD = 64  # bytes of a page's body that name its codec and rate


@dataclass(frozen=True)
class _Page:
    offset: int
    stop: int
    flags: int
    granule: int
    serial: int
    sequence: int
    head: bytes  # of its body


@dataclass
class _Link:
    """One of the streams that follow each other in a chained file: what its pages show."""

    start: int
    stop: int
    rates: dict[int, int] = field(default_factory=dict)  # by serial number, Hz; 0: no audio
    sequences: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    seconds: float = 0.0
    headers_only: bool = True

    def take(self, page: _Page, path: Path) -> None:
        self.stop = page.stop
        if page.flags & _FIRST:
            self.rates[page.serial] = _granule_rate(page.head)
        else:
            self.headers_only = False
            wanted = self.sequences.get(page.serial, -1) + 1
            if page.sequence != wanted and self.rates.get(page.serial) != 0:  # not of a video
                raise damaged(path, self.seconds, "a page of the Ogg stream is missing")
        self.sequences[page.serial] = page.sequence
        if page.flags & _LAST:
            self.ended.add(page.serial)
        rate = self.rates.get(page.serial, 0)
        if rate and page.granule > 0:
            self.seconds = page.granule / rate


def layout(path: Path, *, thorough: bool = False) -> Layout:
    """The streams of a file that follow each other, found by a walk over its pages.

    Args:
        path: of the file.
        thorough: compare the pages' checksums, too.

    Raises:
        MssctlError: a page fails its checksum, is missing, or is cut off.
    """
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        begin, size = max(0, data.find(_MARK)), len(data)
        links = [_Link(begin, begin)]
        for page in _pages(data, path, links[0], check=thorough):
            if page.flags & _FIRST and not links[-1].headers_only:  # a new link begins
                links.append(_Link(page.offset, page.offset, seconds=links[-1].seconds))
            links[-1].take(page, path)
    end = links[-1].stop
    notes = []
    if begin:
        notes.append(f"{begin} bytes before the first Ogg page are not read")
    if end < size:
        notes.append(f"{size - end} bytes after the last Ogg page are not read")
    if not all(link.ended >= set(link.rates) for link in links):
        notes.append("no mark at the end of the Ogg stream: the file may be cut off")
    return Layout(tuple(((link.start, link.stop),) for link in links), notes=tuple(notes))


def _pages(data: mmap, path: Path, first: _Link, *, check: bool) -> Iterator[_Page]:
    """The pages in order, until the file or its pages end."""
    at, size = first.start, len(data)
    while at < size:
        header = data[at : at + _HEADER.size]
        if not header.startswith(_MARK):
            if data.find(_MARK, at, at + _SEARCH) >= 0 or at == first.start:
                raise damaged(path, first.seconds, "a page of the Ogg stream is unreadable")
            return
        if len(header) < _HEADER.size:
            raise cut_off(path, first.seconds)
        _, _, flags, granule, serial, sequence, checksum, count = _HEADER.unpack(header)
        body = at + _HEADER.size + count
        stop = body + sum(data[at + _HEADER.size : body])
        if stop > size:
            raise cut_off(path, first.seconds)
        if check and _crc(header[:22] + bytes(4) + data[at + 26 : stop]) != checksum:
            raise damaged(path, first.seconds, "a page of the Ogg stream fails its checksum")
        yield _Page(at, stop, flags, granule, serial, sequence, data[body : body + _HEAD])
        at = stop


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
