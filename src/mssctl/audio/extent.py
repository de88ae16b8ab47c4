"""How long a file should be by its own header, and what lies behind its end.

libsndfile and FFmpeg shorten the count of many formats silently to what is there.
"""

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

from mssctl.audio import flac

_UNKNOWN_32 = 0xFFFF_FFFF
_W64_HEADER = 24  # GUID and length, which counts itself
_W64_GUIDS = 16
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


@dataclass(frozen=True)
class Extent:
    """Bytes of a file against what its header states.

    Attributes:
        known: the format shows whether a file is complete, and this reader can tell.
        missing: bytes between the end of the file and the end that the header states.
        after: bytes after everything that the header states.
        samples: bytes of samples that the header states, where libsndfile reads on beyond them.
    """

    known: bool
    missing: int = 0
    after: int = 0
    samples: int | None = None


_UNKNOWN = Extent(known=False)


def extent(path: Path) -> Extent:
    """Compare a file's size with its header.

    Knows WAV, RF64, AIFF, SVX, W64, AU, CAF, VOC, NIST, AVI, FLAC, MP4 and its like,
    Matroska and ASF.
    A length that a program left open, since it wrote to a pipe, is no statement.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(32)
        for mark, measure in _KINDS:
            if head.startswith(mark):
                return measure(file, size)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _boxes(file, size)
    return _UNKNOWN


def _bytes_at(file: BinaryIO, at: int, count: int) -> bytes:
    """Up to ``count`` bytes from ``at`` on."""
    file.seek(at)
    return file.read(count)


def _riff(file: BinaryIO, size: int) -> Extent:
    """RIFF, RIFX and RF64: in a WAVE file the chunk of samples counts, in others the whole."""
    head = _bytes_at(file, 0, 12).ljust(12, b"\0")
    order = ">" if head.startswith(b"RIFX") else "<"
    length, form = struct.unpack(f"{order}I4s", head[4:])
    end = None if _left_open(length) else length + length % 2 + 8
    if form != b"WAVE":
        return Extent(known=True, missing=max(0, (end or 0) - size))
    return _chunks(file, size, order, b"data", end)


def _form(file: BinaryIO, size: int) -> Extent:
    """AIFF and 8SVX."""
    length, form = struct.unpack(">I4s", _bytes_at(file, 4, 8).ljust(8, b"\0"))
    wanted = b"SSND" if form.startswith(b"AIF") else b"BODY"
    return _chunks(file, size, ">", wanted, length + length % 2 + 8)


def _chunks(file: BinaryIO, size: int, order: str, wanted: bytes, end: int | None) -> Extent:
    """Walk named chunks with 32-bit lengths, from offset 12 on; ``end`` is the stated one."""
    file.seek(12)
    long_length = 0
    samples_end: int | None = None
    while len(header := file.read(8)) == 8:
        at = file.tell()
        name, length = struct.unpack(f"{order}4sI", header)
        if samples_end is not None and (not _is_name(name) or at - 8 == end):
            return Extent(known=True, after=size - at + 8)
        if name == b"ds64" and 16 <= length < size:
            body = file.read(16)
            if len(body) == 16:
                whole, long_length = struct.unpack("<QQ", body)
                end = whole + whole % 2 + 8
        if name == wanted:
            if length == _UNKNOWN_32 and long_length:
                length = long_length
            elif _left_open(length):
                following, size_of_it = struct.unpack(f"{order}4sI", file.read(8).ljust(8, b"\0"))
                closed = length == 0 and _is_name(following) and at + 8 + size_of_it <= size
                return Extent(known=True, samples=0 if closed else None)
            samples_end = at + int(length)
            if samples_end > size:
                return Extent(known=True, missing=samples_end - size)
        elif samples_end is not None and at + length > size:
            return Extent(known=True, after=size - at + 8)
        file.seek(at + length + length % 2)
    rest = size - file.tell() + len(header)
    return Extent(known=True, after=rest if samples_end is not None and rest > 0 else 0)


def _is_name(name: bytes) -> bool:
    """Whether four bytes can be a chunk's name."""
    return all(0x20 <= byte < 0x7F for byte in name)


def _left_open(length: int) -> bool:
    """Lengths that writers to pipes put where they cannot know it (0, or near 2 or 4 GiB)."""
    return (
        length == 0 or 0x7FFF_F000 <= length <= 0x8000_0000 or 0xFFFF_F000 <= length <= _UNKNOWN_32
    )


def _w64(file: BinaryIO, size: int) -> Extent:
    """Sony Wave64: chunks named by GUIDs, 64-bit lengths, padded to 8 bytes."""
    start = _W64_HEADER + _W64_GUIDS  # after the first chunk's header and its GUID "wave"
    samples: int | None = None
    while start + _W64_HEADER <= size:
        header = _bytes_at(file, start, _W64_HEADER)
        length = int.from_bytes(header[16:], "little")
        if not _is_name(header[:4]) or not _W64_HEADER <= length < 1 << 62:
            break
        if header[:4] == b"data":
            samples = length - _W64_HEADER
            if start + length > size:
                return Extent(known=True, missing=start + length - size)
            if any(_bytes_at(file, start + length, -length % 8)):  # no padding
                return Extent(known=True, after=size - start - length, samples=samples)
        elif start + length > size:
            break
        start += -(-length // 8) * 8
    if samples is None:
        return _UNKNOWN
    return Extent(known=True, after=max(0, size - start), samples=samples)


def _au(file: BinaryIO, size: int) -> Extent:
    """Sun/NeXT AU: offset and length of the samples are in the header."""
    head = _bytes_at(file, 0, 12).ljust(12, b"\0")
    order = ">" if head.startswith(b".snd") else "<"
    offset, length = struct.unpack(f"{order}II", head[4:])
    if length == _UNKNOWN_32:
        return Extent(known=True)
    end = offset + length
    return Extent(known=True, missing=max(0, end - size), after=max(0, size - end))


def _caf(file: BinaryIO, size: int) -> Extent:
    """Apple's CAF: chunks with 64-bit lengths; that of the samples may be -1."""
    at = 8
    while at + 12 <= size:
        name, length = struct.unpack(">4sq", _bytes_at(file, at, 12))
        if length < 0:
            return Extent(known=name == b"data")
        at += 12 + length
        if not _is_name(name):
            return Extent(known=True, after=size - at + 12 + length)
        if name == b"data" and at > size:
            return Extent(known=True, missing=at - size)
    return Extent(known=True, missing=max(0, at - size), after=max(0, size - at))


def _voc(file: BinaryIO, size: int) -> Extent:
    """Creative Voice: blocks of a type and 24 bits of length, to a block of type 0."""
    at = int.from_bytes(_bytes_at(file, 20, 2), "little")
    while at < size:
        header = _bytes_at(file, at, 4)
        if header[0] == 0:
            return Extent(known=True, after=size - at - 1)
        at += 4 + int.from_bytes(header[1:].ljust(3, b"\0"), "little")
    # A writer may leave the end mark out; the last block still states its length.
    return Extent(known=True, missing=max(0, at - size))


def _nist(file: BinaryIO, size: int) -> Extent:
    """NIST SPHERE: lines of names and numbers."""
    text = _bytes_at(file, 0, 1_024).decode("latin-1")
    facts = dict(re.findall(r"^(\w+) -i (\d+)", text, re.MULTILINE))
    start = re.match(r"NIST_1A\s+(\d+)", text)
    needed = ("sample_count", "channel_count", "sample_n_bytes")
    if not start or not all(name in facts for name in needed):
        return _UNKNOWN
    length = math.prod(int(facts[name]) for name in needed)
    missing = int(start[1]) + length - size
    return Extent(known=True, missing=max(0, missing), after=max(0, -missing), samples=length)


def _boxes(file: BinaryIO, size: int) -> Extent:
    """MP4, MOV, M4A: boxes with 32 or 64-bit lengths."""
    at = 0
    while at + 8 <= size:
        length, name = struct.unpack(">I4s", _bytes_at(file, at, 8))
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        is_box = _is_name(name.replace(b"\xa9", b"c")) and not (at and name == b"ftyp")
        if not is_box or 0 < length < 8:
            return Extent(known=True, after=size - at)
        if length == 0:  # to the end of the file
            return Extent(known=True)
        at += length
    return Extent(known=True, missing=max(0, at - size), after=max(0, size - at))


def _ebml(file: BinaryIO, size: int) -> Extent:
    """Matroska and WebM: elements. Where a length was left open, those inside are walked."""
    at, inside = 0, False
    while at < size:
        name, length, start = _ebml_element(_bytes_at(file, at, 12))
        outermost = name in (_EBML, _SEGMENT)
        if not name or not (outermost or inside):
            return Extent(known=at > 0, after=size - at if at else 0)
        at += start
        if length is not None:
            at += length
        inside |= length is None
    return Extent(known=True, missing=at - size)


def _ebml_element(header: bytes) -> tuple[bytes, int | None, int]:
    """Name (empty if it is none), length (None if left open), and where the content begins."""
    width = 9 - (header[:1] or b"\0")[0].bit_length()
    if not 1 <= width <= 4 or len(header) <= width or not header[width]:
        return b"", None, 0
    stop = width + 9 - header[width].bit_length()
    bits = 7 * (stop - width)
    length = int.from_bytes(header[width:stop], "big") & ((1 << bits) - 1)
    return header[:width], None if length == (1 << bits) - 1 else length, stop


def _asf(file: BinaryIO, size: int) -> Extent:
    """WMA and WMV: objects named by GUIDs with 64-bit lengths."""
    at = 0
    while at + 24 <= size:
        name, length = struct.unpack("<16sQ", _bytes_at(file, at, 24))
        if length < 24 or (name not in (_ASF_HEADER, _ASF_DATA) and length > size):
            break
        at += length
        if name == _ASF_DATA and at > size:
            return Extent(known=True, missing=at - size)
    return Extent(known=True)


def _flac(file: BinaryIO, size: int) -> Extent:
    """FLAC: its samples are counted when they are decoded; zeros after them are none."""
    with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        return Extent(known=True, after=flac.trailing_zeros(data, size))


_Measure = Callable[[BinaryIO, int], Extent]
_KINDS: tuple[tuple[bytes, _Measure], ...] = (
    (b"RIFF", _riff),
    (b"RIFX", _riff),
    (b"RF64", _riff),
    (b"BW64", _riff),
    (b"FORM", _form),
    (b"riff", _w64),
    (b".snd", _au),
    (b"dns.", _au),
    (b"caff", _caf),
    (b"Creative Voice File", _voc),
    (b"NIST_1A", _nist),
    (b"fLaC", _flac),
    (_EBML, _ebml),
    (_ASF_HEADER, _asf),
)
