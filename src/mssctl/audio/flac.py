"""What a FLAC file states about itself: length, sample size, and a checksum over all samples.

Source: the STREAMINFO block of RFC 9639.
"""

import hashlib
import re
from collections.abc import Iterator
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from mssctl.audio import tags
from mssctl.audio.errors import cut_off, damaged
from mssctl.audio.part import Layout

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

_FRAME = re.compile(rb"\xff[\xf8\xf9][\x10-\xef]")
_LONGEST = 1 << 18  # bytes of a frame, more or less
_SAMPLED = 32  # places at which the order of frames is looked at
_ZEROS = 16  # bytes: a frame may end with some
_CHUNK = 1 << 20  # bytes
_STREAMINFO = 34  # bytes
_MARKS = b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22"  # and the header of that block


def layout(path: Path, *, thorough: bool = False) -> Layout:
    """The files that were joined to this one; usually it is one.

    Args:
        path: of the file.
        thorough: read all of it; else a short file between two others may not be found.
    """
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        stop = tags.start_of_trailing(data)
        stop -= trailing_zeros(data, stop)
        begin = tags.end_of_leading(data)
        info = data[begin + 8 : begin + 8 + _STREAMINFO]
        stated, last = _total(info), _last_position(data, stop, info)
        longest = int.from_bytes(info[2:4], "big")  # samples of a frame
        agrees = last is not None and stated is not None and last < stated <= last + longest
        starts = [0]  # what stands before the mark, FFmpeg knows
        if thorough or not (agrees or stated is None) or not _is_in_order(data, begin, stop, info):
            marks = sorted(_marks(data, stop))
            starts = marks if len(marks) > 1 else starts
    if len(starts) > 1 or (last is not None and stated is not None and last >= stated):
        stated = None  # the header counts too few
    return Layout(tuple(((a, b),) for a, b in pairwise([*starts, stop])), stated)


def _is_in_order(data: mmap, begin: int, stop: int, info: bytes) -> bool:
    """Whether no frame states an earlier position than the ones before it; some are looked at."""
    places = range(begin, stop, max(1, (stop - begin) // _SAMPLED))
    found = (_position(data, place, stop, info) for place in places)
    positions = [position for position in found if position is not None]
    return positions == sorted(positions)


def _last_position(data: mmap, stop: int, info: bytes) -> int | None:
    """The first sample of the last frame."""
    last, at = None, max(0, stop - _LONGEST)
    for found in _FRAME.finditer(data, at, stop):
        position = _position_at(data[found.start() : found.start() + 16], info)
        last = last if position is None else position
    return last


def _position(data: mmap, at: int, stop: int, info: bytes) -> int | None:
    """The first sample of the next frame after ``at``."""
    for found in _FRAME.finditer(data, at, min(stop, at + _LONGEST)):
        position = _position_at(data[found.start() : found.start() + 16], info)
        if position is not None:
            return position
    return None


def _position_at(head: bytes, info: bytes) -> int | None:
    """The first sample of a frame by its header; None if its CRC-8 shows that it is none."""
    length = max(1, 8 - (head[4] ^ 0xFF).bit_length()) if len(head) == 16 else 9
    if length > 7 or (length == 1 and head[4] >= 0x80):
        return None
    number = head[4] & (0x7F >> (length if length > 1 else 0))
    for byte in head[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    size, rate = head[2] >> 4, head[2] & 15
    end = 4 + length + {6: 1, 7: 2}.get(size, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if _crc8(head[:end]) != head[end]:
        return None
    return number if head[1] & 1 else number * int.from_bytes(info[2:4], "big")


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 & 0xFF ^ (0x07 if crc & 0x80 else 0)
    return crc


def _total(info: bytes) -> int | None:
    """Samples per channel; None where the encoder did not know them yet."""
    return int.from_bytes(info[13:18], "big") & 0xF_FFFF_FFFF or None


def trailing_zeros(data: mmap, stop: int) -> int:
    """Zeros before ``stop`` that belong to no frame; FFmpeg adds them to the last one."""
    at = stop
    while at > 0:
        start = max(0, at - _CHUNK)
        if found := len(data[start:at].rstrip(b"\0")):
            return max(0, stop - start - found - _ZEROS)
        at = start
    return stop


def _marks(data: mmap, stop: int) -> Iterator[int]:
    """Where the files in a file begin, in any order."""
    for mark in _MARKS:
        at = data.find(mark, 0, stop)
        while at >= 0:
            yield at
            at = data.find(mark, at + 1, stop)


def stated_length(context: "AudioCodecContext") -> int | None:
    """Samples per channel; None where the encoder did not know them yet."""
    info = _streaminfo(context)
    return _total(info) if info else None


def has_header(context: "AudioCodecContext") -> bool:
    """Whether there is a STREAMINFO block at all."""
    return _streaminfo(context) is not None


def bits_per_sample(context: "AudioCodecContext") -> int | None:
    """Of the samples that were encoded."""
    info = _streaminfo(context)
    return (int.from_bytes(info[12:14], "big") >> 4 & 31) + 1 if info else None


def ends_with_frame(packet: bytes) -> bool:
    """Whether the last packet of a file is a frame to its last byte, by the frame's CRC-16.

    Zeros behind a frame keep the CRC at 0. A frame alone leaves it at 0 once, twice where the low
    byte of its own CRC is 0, and three times where both are: one or two zeros behind it pass.
    """
    crc = times = 0
    for byte in packet:
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
        times = 0 if crc else times + 1
    return 1 <= times <= 3


class Digest:
    """The MD5 of all samples, compared with the header's.

    Args:
        bits: per sample.
        wanted: the header's MD5.
        samples: per channel that the header states, if it does.
        rate: Hz.

    Attributes:
        complete: all samples that the header states have come, and their checksum is right.
    """

    def __init__(self, bits: int, wanted: bytes, samples: int | None, rate: int) -> None:
        self._bits, self._wanted, self._samples, self._rate = bits, wanted, samples, rate
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._done = 0
        self.complete = False

    @classmethod
    def of(cls, context: "AudioCodecContext") -> Self | None:
        """None where the file is no FLAC, or its encoder left the checksum out (zeros)."""
        info, bits = _streaminfo(context), bits_per_sample(context)
        if info is None or bits is None or not any(info[18:34]):
            return None
        return cls(bits, info[18:34], stated_length(context), context.sample_rate or 1)

    def update(self, samples: NDArray[np.generic]) -> None:
        """Take ``(C, n)`` samples as FFmpeg gives them: in the high bits of their type."""
        width = (self._bits + 7) // 8
        values = np.ascontiguousarray(samples.T)
        shift = 8 * values.itemsize - self._bits
        if shift:
            values = values >> shift
        if width != values.itemsize:
            values = values.view(np.uint8).reshape(-1, values.itemsize)[:, :width]
            values = values.reshape(len(samples.T), -1)
        values = np.ascontiguousarray(values)
        before, self._done = self._done, self._done + len(values)
        if self._samples is not None and before < self._samples <= self._done:
            inside = self._samples - before
            self._md5.update(values[:inside].data)
            self.complete = self._md5.digest() == self._wanted
            values = values[inside:]
        self._md5.update(values.data)

    def check(self, path: Path) -> None:
        """Compare, after the last sample.

        Raises:
            MssctlError: samples are missing, or not those that were encoded.
        """
        stated = self._samples or 0
        if self._done < stated:
            raise cut_off(path, self._done / self._rate, stated / self._rate)
        if not self.complete and self._md5.digest() != self._wanted:
            raise damaged(path, None, "the samples fail the checksum of the FLAC header")


def _streaminfo(context: "AudioCodecContext") -> bytes | None:
    data = context.extradata or b""
    return data[:_STREAMINFO] if context.name == "flac" and len(data) >= _STREAMINFO else None


def _crc16_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = crc << 1 & 0xFFFF ^ (0x8005 if crc & 0x8000 else 0)
        table.append(crc)
    return table


_CRC16 = _crc16_table()
