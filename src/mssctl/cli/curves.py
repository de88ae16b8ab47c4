"""Curves in a terminal, of braille dots; of plain characters where the terminal has no others."""

import sys
from collections.abc import Sequence
from itertools import pairwise

from mssctl.results.runs import Curve

# Bit of each of the 2 x 4 dots of a braille character, from its upper left.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BRAILLE = 0x2800
_LABEL = 10  # characters to the left of a plot


def plot(curve: Curve, width: int, height: int, *, braille: bool) -> list[str]:
    """A curve as lines of text, ``width`` wide: a title, ``height`` lines of plot, the steps.

    Each column of dots shows the mean of the values that fall into it.
    """
    columns = max(4, width - _LABEL - 2)
    across, down = (columns * 2, height * 4) if braille else (columns, height)
    first, last = curve.steps[0], curve.steps[-1]
    means = _means(curve, across)
    known = [value for value in means if value is not None]
    low, high = min(known), max(known)
    rows = [
        None if value is None else round((high - value) / ((high - low) or 1.0) * (down - 1))
        for value in means
    ]
    cells = _braille(rows, columns, height) if braille else _plain(rows, columns, height)
    side = "│" if braille else "|"
    labels = [_short(high), *[""] * (height - 2), _short(low)]
    title = f"{curve.name} ({curve.unit}), now {_short(curve.values[-1])}"
    middle = str(last).rjust(columns - len(str(first)))
    return [
        title[:width],
        *(f"{label:>{_LABEL}} {side}{line}" for label, line in zip(labels, cells, strict=True)),
        f"{'step':>{_LABEL}}  {first}{middle}"[:width],
    ]


def grid(curves: Sequence[Curve], width: int, rows: int, *, braille: bool) -> list[str]:
    """Plots side by side where they fit, ``rows`` lines high each."""
    across = max(1, width // 80)
    each = (width - 2 * (across - 1)) // across
    lines: list[str] = []
    for start in range(0, len(curves), across):
        blocks = [
            plot(curve, each, rows, braille=braille) for curve in curves[start : start + across]
        ]
        lines += ["", *("  ".join(f"{part:{each}}" for part in row).rstrip()
                        for row in zip(*blocks, strict=True))]  # fmt: skip
    return lines


def can_braille() -> bool:
    """Whether stdout takes braille characters."""
    try:
        "\u28ff│".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _means(curve: Curve, across: int) -> list[float | None]:
    """The mean of the values in each column; gaps between them are filled along a line."""
    first, span = curve.steps[0], max(1, curve.steps[-1] - curve.steps[0])
    sums: list[list[float]] = [[] for _ in range(across)]
    for step, value in zip(curve.steps, curve.values, strict=True):
        sums[round((step - first) / span * (across - 1))].append(value)
    means = [sum(values) / len(values) if values else None for values in sums]
    known = [place for place, value in enumerate(means) if value is not None]
    for left, right in pairwise(known):
        begin, end = means[left] or 0.0, means[right] or 0.0
        for place in range(left + 1, right):
            means[place] = begin + (end - begin) * (place - left) / (right - left)
    return means


def _braille(rows: Sequence[int | None], columns: int, height: int) -> list[str]:
    cells = [[0] * columns for _ in range(height)]
    before: int | None = None
    for place, row in enumerate(rows):
        if row is None:
            before = None
            continue
        # A steep step is drawn as a line, so that the curve holds together.
        start = (
            row if before is None else before + (1 if row > before else -1 if row < before else 0)
        )
        for dot in range(min(start, row), max(start, row) + 1):
            cells[dot // 4][place // 2] |= _DOTS[dot % 4][place % 2]
        before = row
    return ["".join(chr(_BRAILLE + cell) if cell else " " for cell in line) for line in cells]


def _plain(rows: Sequence[int | None], columns: int, height: int) -> list[str]:
    cells = [[" "] * columns for _ in range(height)]
    for place, row in enumerate(rows):
        if row is not None:
            cells[row][place] = "*"
    return ["".join(line) for line in cells]


def _short(value: float) -> str:
    return f"{value:.4g}"
