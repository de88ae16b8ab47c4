"""Damages: bytes in, other bytes out, the same for the same random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Damage:
    """What was done to the bytes of a file.

    Attributes:
        kind: name of the function that did it.
        data: the damaged bytes.
        start: first byte that was touched, in the intact file.
        stop: end of what was touched.
        tail: bytes were only added behind the end.
    """

    kind: str
    data: bytes
    start: int
    stop: int
    tail: bool = False

    def __str__(self) -> str:
        return f"{self.kind} at {self.start}..{self.stop}, {len(self.data)} bytes in all"


Damager = Callable[[bytes, Random], Damage]


def _place(data: bytes, rng: Random) -> int:
    """A position: anywhere, or, as often, close to the start or the end."""
    size = len(data)
    kind = rng.random()
    if kind < 0.5 or size < 16:
        return rng.randrange(max(1, size))
    if kind < 0.8:
        return rng.randrange(min(size, 256))
    return size - 1 - rng.randrange(max(1, size // 10))


def _length(data: bytes, rng: Random) -> int:
    """Bytes to touch: from one to a good part of the file, small ones as often as large ones."""
    most = max(1, len(data) // 2)
    return max(1, min(most, int(2 ** rng.uniform(0, 14))))


def _range(data: bytes, rng: Random) -> tuple[int, int]:
    start = _place(data, rng)
    return start, min(len(data), start + _length(data, rng))


def flip_bit(data: bytes, rng: Random) -> Damage:
    """One bit of one byte."""
    at = _place(data, rng)
    changed = bytearray(data)
    changed[at] ^= 1 << rng.randrange(8)
    return Damage("flip_bit", bytes(changed), at, at + 1)


def flip_bytes(data: bytes, rng: Random) -> Damage:
    """Two to sixteen bytes, anywhere."""
    places = [_place(data, rng) for _ in range(rng.randint(2, 16))]
    changed = bytearray(data)
    for at in places:
        changed[at] ^= rng.randint(1, 255)
    return Damage("flip_bytes", bytes(changed), min(places), max(places) + 1)


def zeros(data: bytes, rng: Random) -> Damage:
    """A hole, as a file system leaves it."""
    start, stop = _range(data, rng)
    return Damage("zeros", data[:start] + bytes(stop - start) + data[stop:], start, stop)


def noise(data: bytes, rng: Random) -> Damage:
    """Random bytes in the place of others."""
    start, stop = _range(data, rng)
    return Damage("noise", data[:start] + rng.randbytes(stop - start) + data[stop:], start, stop)


def cut_end(data: bytes, rng: Random) -> Damage:
    """The end is missing: a copy that broke off."""
    keep = rng.randrange(len(data)) if rng.random() < 0.5 else len(data) - _length(data, rng)
    return Damage("cut_end", data[:keep], keep, len(data))


def cut_start(data: bytes, rng: Random) -> Damage:
    """The first bytes are missing."""
    drop = min(len(data) - 1, _length(data, rng))
    return Damage("cut_start", data[drop:], 0, drop)


def delete(data: bytes, rng: Random) -> Damage:
    """Bytes are missing from the middle."""
    start, stop = _range(data, rng)
    return Damage("delete", data[:start] + data[stop:], start, stop)


def insert(data: bytes, rng: Random) -> Damage:
    """Bytes that do not belong there: zeros or noise."""
    start, length = _place(data, rng), _length(data, rng)
    extra = bytes(length) if rng.random() < 0.3 else rng.randbytes(length)
    return Damage("insert", data[:start] + extra + data[start:], start, start)


def repeat(data: bytes, rng: Random) -> Damage:
    """A part comes twice."""
    start, stop = _range(data, rng)
    return Damage("repeat", data[:stop] + data[start:], start, stop)


def swap(data: bytes, rng: Random) -> Damage:
    """Two parts of one length change places."""
    length = min(_length(data, rng), len(data) // 3)
    first = rng.randrange(max(1, len(data) // 2 - length))
    second = rng.randrange(len(data) // 2, max(len(data) // 2 + 1, len(data) - length))
    a, b = data[first : first + length], data[second : second + length]
    changed = bytearray(data)
    changed[first : first + length], changed[second : second + length] = b, a
    return Damage("swap", bytes(changed), first, second + length)


def garbage_behind(data: bytes, rng: Random) -> Damage:
    """More bytes than the file has, behind its end."""
    extra = rng.randbytes(_length(data, rng))
    if rng.random() < 0.2:
        extra = bytes(len(extra))
    return Damage("garbage_behind", data + extra, len(data), len(data), tail=True)


def tag_behind(data: bytes, rng: Random) -> Damage:
    """An ID3v1 tag, as players add it to anything."""
    tag = b"TAG" + f"title {rng.randrange(99)}".encode().ljust(125, b"\0")
    return Damage("tag_behind", data + tag, len(data), len(data), tail=True)


def tag_before(data: bytes, rng: Random) -> Damage:
    """An ID3v2 tag before the file."""
    size = rng.randrange(10, 5_000)
    body = b"TXXX" + (size - 10).to_bytes(4, "big") + b"\0\0" + bytes(size - 10)
    lengths = bytes([(size >> shift) & 127 for shift in (21, 14, 7, 0)])
    return Damage("tag_before", b"ID3\x03\0\0" + lengths + body + data, 0, 0)


def text_mode(data: bytes, rng: Random) -> Damage:
    """Copied as text: each line feed becomes carriage return and line feed."""
    return Damage("text_mode", data.replace(b"\n", b"\r\n"), 0, len(data))


def as_utf8(data: bytes, rng: Random) -> Damage:
    """Read and written as UTF-8: what is none became U+FFFD."""
    return Damage("as_utf8", data.decode("utf-8", "replace").encode(), 0, len(data))


def seven_bits(data: bytes, rng: Random) -> Damage:
    """The highest bit of each byte is lost."""
    return Damage("seven_bits", bytes(byte & 127 for byte in data), 0, len(data))


def empty(data: bytes, rng: Random) -> Damage:
    """Nothing is left, or zeros of the same length."""
    left = b"" if rng.random() < 0.5 else bytes(len(data))
    return Damage("empty", left, 0, len(data))


_WEIGHTS: dict[Damager, int] = {
    flip_bit: 12,
    flip_bytes: 8,
    zeros: 8,
    noise: 8,
    cut_end: 12,
    cut_start: 3,
    delete: 10,
    insert: 10,
    repeat: 5,
    swap: 6,
    garbage_behind: 4,
    tag_behind: 2,
    tag_before: 2,
    text_mode: 1,
    as_utf8: 1,
    seven_bits: 1,
    empty: 1,
}


def damaged(data: bytes, rng: Random) -> Damage:
    """One damage of any kind; the bytes always differ from ``data``."""
    while True:
        (damager,) = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        found = damager(data, rng)
        if found.data != data:
            return found
