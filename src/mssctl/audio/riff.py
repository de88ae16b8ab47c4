"""Is a WAV or AIFF file as long as its header says? libsndfile shortens the count silently."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO


def missing_bytes(path: Path) -> int:
    """How many bytes of sample data the header promises beyond the end of the file.

    0 for a whole file, for other formats, and where a program that wrote to a pipe left the
    length open.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        kind = file.read(12)[:4]
        if kind in (b"RIFF", b"RF64"):
            promised = _end_of_samples(file, "<", b"data")
        elif kind == b"FORM":
            promised = _end_of_samples(file, ">", b"SSND")
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
            if length == 0xFFFF_FFFF and long_length:
                length = long_length
            elif _left_open(length):
                return 0
            return file.tell() + int(length)
        file.seek(length + length % 2, 1)
    return 0


def _left_open(length: int) -> bool:
    """Lengths that writers to pipes put where they cannot know it (0, or near 2 or 4 GiB)."""
    return (
        length == 0 or 0x7FFF_F000 <= length <= 0x8000_0000 or 0xFFFF_F000 <= length <= 0xFFFF_FFFF
    )
