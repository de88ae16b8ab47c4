"""Streams of blocks: a function of segments applied to any length, and several streams in step."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

Fade = Literal["hann", "linear"]
Edges = Literal["reflected", "centered"]


def overlap_add(
    blocks: Iterator[Tensor],
    apply: Callable[[Tensor], Tensor],
    *,
    segment: int,
    overlap: float,
    fade: Fade = "hann",
    batch_size: int = 1,
    shift: int = 0,
    edges: Edges = "reflected",
) -> Iterator[Tensor]:
    """Cut a stream into overlapping segments, apply a function and cross-fade the results.

    Memory depends on the segment and the batch, not on the length of the stream.

    Args:
        blocks: the signal as blocks ``(C, n)`` of any lengths.
        apply: ``(B, C, segment) -> (B, S, C, segment)`` with ``B <= batch_size``.
        segment: samples per segment.
        overlap: fraction of a segment shared with the next, ``0 <= overlap < 1``.
        fade: shape of the cross-fade.
        batch_size: segments given to ``apply`` at once.
        shift: moves the grid of segments this many samples to the left.
        edges: ``reflected``: before its beginning and after its end the signal is mirrored, so that
            the first and last samples lie inside a segment like any other. ``centered``: segments
            begin where the signal does; of one that reaches beyond the end, what remains of the
            signal is put in the middle, behind what comes before it and in front of silence.

    Yields:
        ``(S, C, n)``, in order; the lengths add up to the stream's.

    Raises:
        ValueError: a setting is out of range.
    """
    if segment < 1 or not 0 <= overlap < 1 or batch_size < 1 or shift < 0:
        raise ValueError("need segment >= 1, 0 <= overlap < 1, batch_size >= 1, shift >= 0")
    hop = max(1, round(segment * (1 - overlap)))
    weight = fade_window(segment, hop, fade)
    edge = 0 if edges == "centered" else min(segment - hop, segment // 2)
    signal = _Centered(blocks, edge) if edges == "centered" else _Reflected(blocks, edge)

    total: Tensor | None = None  # (S, C, segment): sum of faded segments, from `at` on
    norm = torch.zeros(segment)
    at = -(edge + shift)  # position in the signal
    for batch, leads in _batches(signal.segments(at, segment, hop), batch_size):
        for lead, full in zip(leads, apply(batch), strict=True):
            result = _advance(full, lead) if lead else full
            if total is None:
                total = torch.zeros_like(result)
            total += result * weight
            norm += weight
            yield from _inside(total[..., :hop] / norm[:hop], at, signal.length)
            total = _advance(total, hop)
            norm = _advance(norm, hop)
            at += hop
    if total is not None and segment > hop:
        rest = slice(0, segment - hop)
        yield from _inside(total[..., rest] / norm[rest], at, signal.length)


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


def fade_window(segment: int, hop: int, fade: Fade) -> Tensor:
    """Weights ``(segment,)``, all above 0: fade in, flat part, fade out.

    Where consecutive segments overlap by at most half, their weights add up to 1.
    """
    length = min(segment - hop, segment // 2)
    rise = (torch.arange(length, dtype=torch.float64) + 0.5) / max(1, length)
    if fade == "hann":
        rise = torch.sin(rise * (torch.pi / 2)).square()
    weight = torch.ones(segment, dtype=torch.float64)
    weight[:length] = rise
    weight[segment - length :] = rise.flip(0)
    return weight.float()


def reflected(positions: Tensor, length: int) -> Tensor:
    """Map any positions into ``[0, length)`` by reflection at the first and the last sample."""
    if length == 1:
        return torch.zeros_like(positions)
    period = 2 * (length - 1)
    positions = positions.remainder(period)
    return torch.minimum(positions, period - positions)


def _advance(x: Tensor, hop: int) -> Tensor:
    """Forget the first ``hop`` samples and append zeros."""
    return torch.nn.functional.pad(x[..., hop:], (0, hop))


def _inside(block: Tensor, at: int, length: int | None) -> Iterator[Tensor]:
    """The part of a block at position ``at`` that lies in ``[0, length)``, if there is any."""
    stop = block.shape[-1] if length is None else min(block.shape[-1], length - at)
    start = max(0, -at)
    if start < stop:
        yield block[..., start:stop]


def _batches(
    segments: Iterator[tuple[Tensor, int]], size: int
) -> Iterator[tuple[Tensor, list[int]]]:
    """Segments stacked, and by how much each begins before its place."""
    while batch := list(islice(segments, size)):
        yield torch.stack([segment for segment, _ in batch]), [lead for _, lead in batch]


class _Reflected:
    """A stream whose ends are reflected, cut into segments.

    Attributes:
        length: samples in the stream, None until its end has been read. It is known before a
            segment that reaches beyond the end is cut.
    """

    def __init__(self, blocks: Iterator[Tensor], edge: int) -> None:
        self.length: int | None = None
        self._blocks = blocks
        self._edge = edge  # samples beyond the end that the last segment covers at least
        self._held = torch.empty(0)
        self._start = 0  # position of the first sample held
        self._stop = 0  # position after the last one

    def segments(self, at: int, segment: int, hop: int) -> Iterator[tuple[Tensor, int]]:
        """Segments ``(C, segment)`` at ``at``, ``at + hop``, ... until past the end, and 0."""
        while True:
            self._read_until(max(at + segment + self._edge, -at) + 1)
            if self.length == 0:
                return
            yield self._cut(at, segment), 0
            if self.length is not None and at + segment >= self.length + self._edge:
                return
            at += hop
            # The reflected end of a segment reaches back as far as this.
            self._forget(at - hop - self._edge - 1)

    def _read_until(self, position: int) -> None:
        new = []
        while self.length is None and self._stop < position:
            block = next(self._blocks, None)
            if block is None:
                self.length = self._stop
            elif block.shape[-1]:
                new.append(block)
                self._stop += block.shape[-1]
        if new:
            old = [self._held] if self._held.numel() else []
            self._held = torch.cat(old + new, dim=-1)

    def _forget(self, before: int) -> None:
        if before > self._start:
            self._held = self._held[..., before - self._start :]
            self._start = before

    def _cut(self, at: int, segment: int) -> Tensor:
        if at >= 0 and at + segment <= self._stop:
            return self._held[..., at - self._start : at - self._start + segment]
        positions = reflected(torch.arange(at, at + segment), self._stop)
        return self._held[..., positions - self._start]


class _Centered(_Reflected):
    """A stream in front of silence, whose last segments are moved to the left."""

    def segments(self, at: int, segment: int, hop: int) -> Iterator[tuple[Tensor, int]]:
        """Segments from ``at``, ``at + hop``, ... on, and by how much they begin before that."""
        while True:
            self._read_until(max(at + segment, 0) + 1)
            if self.length == 0:
                return
            rest = segment if self.length is None else min(segment, self.length - at)
            lead = (segment - rest) // 2
            yield self._cut(at - lead, segment), lead
            if self.length is not None and at + hop >= self.length:
                return
            at += hop
            self._forget(at - segment // 2 - 1)

    def _cut(self, at: int, segment: int) -> Tensor:
        start, stop = max(at, 0), min(at + segment, self._stop)
        inside = self._held[..., start - self._start : stop - self._start]
        return torch.nn.functional.pad(inside, (start - at, at + segment - stop))
