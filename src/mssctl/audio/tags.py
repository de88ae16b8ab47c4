"""Tags around the audio of files without a container: ID3, APE, Lyrics3.

Sources: id3.org (v1, v2.3, v2.4), the APEv2 and Lyrics3 descriptions of hydrogenaud.io and id3.org.
"""

import struct
from mmap import mmap

_APE_FOOTER = struct.Struct("<8sIIII8x")
_IS_APE_HEADER, _HAS_APE_HEADER = 0x2000_0000, 0x8000_0000
_LYRICS = 1 << 20  # bytes in which the end of Lyrics3 is looked for


def size_at(data: bytes | mmap, at: int) -> int:
    """Bytes of the tag that begins at ``at``, 0 if none does."""
    head = data[at : at + 32]
    if head.startswith(b"ID3") and len(head) >= 10 and max(head[6:10]) < 0x80:
        return 10 + _synchsafe(head) + (10 if head[5] & 0x10 else 0)
    if head.startswith(b"TAG"):
        return 227 if head.startswith(b"TAG+") else 128
    if head.startswith(b"APETAGEX") and len(head) == 32:
        _, _, length, _, flags = _APE_FOOTER.unpack(head)
        return 32 + (length if flags & _IS_APE_HEADER else 0)
    if head.startswith(b"LYRICSBEGIN"):
        for mark in (b"LYRICS200", b"LYRICSEND"):
            stop = data.find(mark, at, at + _LYRICS)
            if stop >= 0:
                return stop + len(mark) - at
    return 0


def end_of_leading(data: bytes | mmap) -> int:
    """Where the tags at the beginning of a file end."""
    at = 0
    while size := size_at(data, at):
        at += size
    return at


def start_of_trailing(data: bytes | mmap) -> int:
    """Where the tags at the end of a file begin; its length if there are none."""
    stop = len(data)
    while stop > 0:
        size = _size_before(data, stop)
        if not 0 < size <= stop:
            break
        stop -= size
    return stop


def _size_before(data: bytes | mmap, stop: int) -> int:
    """Bytes of the tag that ends at ``stop``, 0 if none does."""
    if stop >= 128 and data[stop - 128 : stop - 125] == b"TAG":
        return 128
    footer = data[max(0, stop - 32) : stop]
    if footer.startswith(b"APETAGEX") and len(footer) == 32:
        _, _, length, _, flags = _APE_FOOTER.unpack(footer)
        return int(length) + (32 if flags & _HAS_APE_HEADER else 0)
    if footer[22:25] == b"3DI" and max(footer[28:32]) < 0x80:
        return 20 + _synchsafe(footer[22:])
    if footer.endswith(b"LYRICS200") and footer[-15:-9].isdigit():
        return int(footer[-15:-9]) + 15
    return 0


def _synchsafe(head: bytes) -> int:
    """The length in an ID3v2 header: four bytes of seven bits."""
    return sum(byte << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
