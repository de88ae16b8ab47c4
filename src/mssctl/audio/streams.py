"""Streams of blocks: several streams of different block lengths brought into step."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor


def in_step(*streams: Iterator[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Cut streams of ``(..., n)`` blocks at each other's boundaries.

    Yields one block per stream, all of the same length, and stops with the first stream; others
    may be longer.

    Raises:
        ValueError: another stream is shorter than the first.
    """
    heads: list[Tensor | None] = [None] * len(streams)
    while True:
        for i, stream in enumerate(streams):
            head = heads[i]
            while head is None or head.shape[-1] == 0:
                head = next(stream, None)
                if head is None and i == 0:
                    return
                if head is None:
                    raise ValueError(f"stream {i} is shorter than the first")
            heads[i] = head
        full = [head for head in heads if head is not None]
        n = min(head.shape[-1] for head in full)
        yield tuple(head[..., :n] for head in full)
        heads = [head[..., n:] if head.shape[-1] > n else None for head in full]
