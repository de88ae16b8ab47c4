"""A range of bytes of a file as a file, for FFmpeg to read from."""

from __future__ import annotations

import io
from pathlib import Path


class Part(io.RawIOBase):
    """Bytes ``[start, stop)`` of a file.

    Damaged containers make FFmpeg seek anywhere: positions are kept within the part.

    Args:
        path: of the file.
        start: the first byte.
        stop: the byte after the last; None is the end of the file.
    """

    def __init__(self, path: Path, start: int = 0, stop: int | None = None) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._start = start
        self._size = (self._file.seek(0, io.SEEK_END) if stop is None else stop) - start
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
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = min(max(0, base + offset), self._size)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; all that are left if it is negative."""
        left = self._size - self._at
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size < 0 else min(size, left)) or b""
        self._at += len(data)
        return data
