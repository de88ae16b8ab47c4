"""Where in a file its audio lies, and ranges of its bytes as a file for decoders."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

Range = tuple[int, int]  # bytes [start, stop)


@dataclass(frozen=True)
class Layout:
    """The streams of a file that follow each other, without what is no audio.

    Attributes:
        parts: of each stream its ranges of bytes.
        stated: samples per channel, where the file states them and its structure agrees.
        notes: what a user should know.
    """

    parts: tuple[tuple[Range, ...], ...]
    stated: int | None = None
    notes: tuple[str, ...] = ()


class Part(io.RawIOBase):
    """Ranges of bytes of a file, one after the other.

    Damaged containers make FFmpeg seek anywhere: positions are kept within the part.

    Args:
        path: of the file.
        ranges: bytes ``[start, stop)`` in order; the whole file if there are none.
        limit: bytes that are read, then the part seems to end; None is no limit.
    """

    def __init__(self, path: Path, ranges: Sequence[Range] = (), limit: int | None = None) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._ranges = ranges or [(0, self._file.seek(0, io.SEEK_END))]
        self._begins = [0, *accumulate(stop - start for start, stop in self._ranges)]
        self._left = limit
        self._at = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """And moved in."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to ``offset`` from the beginning, from here, or from the end."""
        size = self._begins[-1]
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: size}[whence]
        self._at = min(max(0, base + offset), size)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, fewer at the end of a range; all that are left if negative."""
        if size < 0:
            return self.readall()
        number = bisect_right(self._begins, self._at) - 1
        if self._left is not None:
            size = min(size, self._left)
            self._left -= size
        if number == len(self._ranges) or not size:
            return b""
        start, stop = self._ranges[number]
        begin = start + self._at - self._begins[number]
        self._file.seek(begin)
        data = self._file.read(min(size, stop - begin)) or b""
        self._at += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill ``buffer`` as far as `read` does."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
