"""Is a file as long as its header says? libsndfile shortens the count of many formats silently."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_OGG_PAGE = 65_307  # bytes of the longest Ogg page
_UNKNOWN_32 = 0xFFFF_FFFF
_W64_HEADER = 24  # GUID and length, which counts itself


def missing_bytes(path: Path) -> int:
    """How many bytes of sample data the header promises beyond the end of the file.

    Knows WAV, RF64, AIFF, W64 and AU, and for Ogg the length of the last page (a file that ends
    with a page is taken for whole). 0 for a whole file, for other formats, and where a program
    that wrote to a pipe left the length open.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        kind = file.read(12)[:4]
        if kind in (b"RIFF", b"RF64"):
            promised = _end_of_samples(file, "<", b"data")
        elif kind == b"FORM":
            promised = _end_of_samples(file, ">", b"SSND")
        elif kind == b"riff":
            promised = _end_of_w64(file)
        elif kind == b".snd":
            promised = _end_of_au(file)
        elif kind == b"OggS":
            promised = _end_of_last_page(file, size)
        else:
            promised = 0
    return max(0, promised - size)


def _end_of_samples(file: BinaryIO, order: str, wanted: bytes) -> int:
    """Offset where the chunk of samples should end; 0 if unknown."""
    long_length = 0
    while len(header := file.read(8)) == 8:
        name, length = struct.unpack(f"{order}4sI", header)
        if name == b"ds64" and length >= 16:
            body = file.read(16)
            long_length = struct.unpack("<QQ", body)[1] if len(body) == 16 else 0
            length -= 16
        if name == wanted:
            if length == _UNKNOWN_32 and long_length:
                length = long_length
            elif _left_open(length):
                return 0
            return file.tell() + int(length)
        file.seek(length + length % 2, 1)
    return 0


def _left_open(length: int) -> bool:
    """Lengths that writers to pipes put where they cannot know it (0, or near 2 or 4 GiB)."""
    return (
        length == 0 or 0x7FFF_F000 <= length <= 0x8000_0000 or 0xFFFF_F000 <= length <= _UNKNOWN_32
    )


def _end_of_w64(file: BinaryIO) -> int:
    """The same for Sony Wave64: chunks named by GUIDs, 64-bit lengths, padded to 8 bytes."""
    start = _W64_HEADER + 16  # after the first chunk's header and its GUID "wave"
    while True:
        file.seek(start)
        header = file.read(_W64_HEADER)
        length = int.from_bytes(header[16:], "little")
        if len(header) < _W64_HEADER or not _W64_HEADER <= length < 1 << 62:
            return 0
        if header[:4] == b"data":
            return start + length
        start += -(-length // 8) * 8


def _end_of_au(file: BinaryIO) -> int:
    """The same for Sun/NeXT AU: offset and length of the samples are in the header."""
    file.seek(4)
    header = file.read(8)
    if len(header) < 8:
        return 0
    offset, length = struct.unpack(">II", header)
    return 0 if length == _UNKNOWN_32 else int(offset + length)


def _end_of_last_page(file: BinaryIO, size: int) -> int:
    """Offset where the last page of an Ogg file should end; 0 if there is no page to see."""
    start = max(0, size - _OGG_PAGE)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0:
        return 0
    header, segments = tail[at : at + 27], b""
    if len(header) == 27:
        segments = tail[at + 27 : at + 27 + header[26]]
    count = header[26] if len(header) == 27 else 1  # a page has one segment at least
    return start + at + 27 + count + sum(segments)
