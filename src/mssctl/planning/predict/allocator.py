"""What PyTorch's CUDA caching allocator makes of a sequence of requests and releases.

Rules of ``c10/cuda/CUDACachingAllocator.cpp`` with default settings and one stream: requests are
rounded to 512 bytes; up to 1 MiB they come from segments of 2 MiB, up to 10 MiB from segments of
20 MiB, larger ones get a segment of their own, rounded to 2 MiB; best fit, splitting, merging of
neighbors. A segment is never given back here, whereas the allocator does so before it gives up:
what this reserves is an upper bound.
"""

import bisect
import itertools
from dataclasses import dataclass, field

from mssctl.hardware.machine import MIB

_SMALL = MIB


def rounded(size: int) -> int:
    """Bytes that ``torch.cuda.memory_allocated`` counts for a request of ``size`` bytes."""
    return 0 if size == 0 else max(512, -(-size // 512) * 512)


@dataclass(eq=False)
class Block:
    """A piece of a segment, linked to its neighbors there."""

    size: int
    pool: "list[tuple[int, int, Block]]"
    number: int = field(default_factory=itertools.count().__next__)
    free: bool = False
    before: "Block | None" = None
    after: "Block | None" = None


@dataclass
class CachingAllocator:
    """A replay: `take` and `give_back` blocks, read `reserved`."""

    reserved: int = 0
    _small: list[tuple[int, int, Block]] = field(default_factory=list)
    _large: list[tuple[int, int, Block]] = field(default_factory=list)

    def take(self, size: int) -> Block | None:
        """Serve a request of ``size`` bytes; None for an empty one."""
        size = rounded(size)
        if size == 0:
            return None
        pool = self._small if size <= _SMALL else self._large
        index = bisect.bisect_left(pool, (size, -1))
        if index < len(pool):
            block = pool.pop(index)[2]
            block.free = False
        else:
            block = self._segment(size, pool)
        rest = block.size - size
        if rest >= (512 if pool is self._small else _SMALL + 1):
            block.size = size
            tail = Block(rest, pool)
            tail.before, tail.after = block, block.after
            if block.after:
                block.after.before = tail
            block.after = tail
            self._release(tail)
        return block

    def give_back(self, block: Block | None) -> None:
        """Release a block that `take` returned."""
        if block is None:
            return
        for neighbor in (block.before, block.after):
            if neighbor is not None and neighbor.free:
                index = bisect.bisect_left(neighbor.pool, (neighbor.size, neighbor.number))
                block.size += neighbor.pool.pop(index)[0]
                if neighbor is block.before:
                    block.before = neighbor.before
                    if block.before:
                        block.before.after = block
                else:
                    block.after = neighbor.after
                    if block.after:
                        block.after.before = block
        self._release(block)

    def _segment(self, size: int, pool: list[tuple[int, int, Block]]) -> Block:
        if pool is self._small:
            segment = 2 * MIB
        else:
            segment = 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
        self.reserved += segment
        return Block(segment, pool)

    @staticmethod
    def _release(block: Block) -> None:
        block.free = True
        bisect.insort(block.pool, (block.size, block.number, block))
