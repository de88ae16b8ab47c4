"""Plots as SVG text: distributions per stem, and scores over time.

Text and axes take the colour of the page around them (``currentColor``), so that a plot is legible
on light and dark ground. The colours of stems differ also for the colour-blind (Okabe and Ito).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

_WIDTH, _HEIGHT = 480, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 30, 44
_TICKS = 5
_LEGEND_LINE = 18
_LETTER = 7.0  # about the width of one
_DEEPEST = -30.0  # what lies below is drawn at the lower edge: it would flatten all the rest


def box_plot(groups: Mapping[str, Sequence[float]], title: str, unit: str) -> str:
    """A box per group: median, quartiles, whiskers to the last value within 1.5 box heights.

    Every value is a dot as well, so that few tracks do not look like many.

    Args:
        groups: name -> one value per track; empty ones are left out.
        title: above the plot, and for readers who do not see it.
        unit: of the values.
    """
    shown = {name: sorted(values) for name, values in groups.items() if len(values)}
    axis = _Axis([value for values in shown.values() for value in values])
    wide = (_WIDTH - _LEFT - _RIGHT) / max(1, len(shown))
    parts = [axis.lines(unit)]
    for index, (name, values) in enumerate(shown.items()):
        colour = _colour(name, index)
        centre, half = _LEFT + (index + 0.5) * wide, min(34.0, wide * 0.26)
        low, middle, high = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
        reach = 1.5 * (high - low)
        bottom = min(value for value in values if value >= low - reach)
        top = max(value for value in values if value <= high + reach)
        y = axis.y
        parts += [
            f'<g stroke="{colour}" fill="{colour}">',
            _line(centre, y(top), centre, y(high)),
            _line(centre, y(low), centre, y(bottom)),
            (
                f'<rect x="{centre - half:.1f}" y="{y(high):.1f}" width="{2 * half:.1f}" '
                f'height="{max(1.0, y(low) - y(high)):.1f}" fill-opacity="0.18" rx="2"/>'
            ),
            (
                f'<line x1="{centre - half:.1f}" x2="{centre + half:.1f}" y1="{y(middle):.1f}" '
                f'y2="{y(middle):.1f}" stroke-width="2.5"/>'
            ),
        ]
        parts += [
            f'<circle cx="{centre + half + 9:.1f}" cy="{y(value):.1f}" r="2.4" stroke="none"/>'
            for value in values
        ]
        parts.append("</g>")
        label = _fitted(name, f" ({len(values)})", wide)
        parts.append(_text(centre, _HEIGHT - _BOTTOM + 18, label, anchor="middle"))
    described = "; ".join(
        f"{name}: median {float(np.median(values)):.2f} {unit}" for name, values in shown.items()
    )
    return _figure(parts, title, described)


def over_time(
    series: Mapping[str, Sequence[tuple[float, float | None]]], title: str, unit: str
) -> str:
    """A line per stem; it is broken where there is no value.

    Args:
        series: name -> (seconds, value or None).
        title: above the plot.
        unit: of the values.
    """
    axis = _Axis([value for line in series.values() for _, value in line if value is not None])
    end = max((time for line in series.values() for time, _ in line), default=0.0) or 1.0
    span = _WIDTH - _LEFT - _RIGHT

    def x(time: float) -> float:
        return _LEFT + span * time / end

    places, lines = _legend(list(series))
    parts = [axis.lines(unit)]
    for seconds in _steps(0.0, end, 6):
        clock = f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
        parts.append(_text(x(seconds), _HEIGHT - _BOTTOM + 18, clock, anchor="middle"))
    for index, (name, line) in enumerate(series.items()):
        colour = _colour(name, index)
        path, pen = [], "M"
        for time, value in line:
            if value is None:
                pen = "M"
                continue
            path.append(f"{pen}{x(time):.1f} {axis.y(value):.1f}")
            pen = "L"
        parts.append(
            f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.6" '
            'stroke-linejoin="round" stroke-linecap="round"/>'
        )
        left, line_number = places[index]
        base = _HEIGHT - 10 + line_number * _LEGEND_LINE
        parts.append(f'<rect x="{left:.0f}" y="{base - 6}" width="14" height="4" fill="{colour}"/>')
        parts.append(_text(left + 20, base, name))
    more = (lines - 1) * _LEGEND_LINE
    return _figure(parts, title, f"{unit} over time for {', '.join(series)}", _HEIGHT + more)


class _Axis:
    """The vertical axis: round numbers around all values that are not far below."""

    def __init__(self, values: Sequence[float]) -> None:
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        low = max(low, min(_DEEPEST, high - 1.0))
        room = 0.06 * (high - low) or 1.0
        self.low, self.high = low - room, high + room

    def y(self, value: float) -> float:
        """Where a value is drawn: at the lower edge, if it lies below."""
        share = (max(value, self.low) - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def lines(self, unit: str) -> str:
        parts = [_text(_LEFT - 8, _TOP - 12, unit, anchor="end")]
        for value in _steps(self.low, self.high, _TICKS):
            y, strong = self.y(value), 0.45 if value == 0.0 else 0.14
            parts.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                f'stroke="currentColor" stroke-opacity="{strong}"/>'
            )
            parts.append(_text(_LEFT - 8, y + 4, f"{value:g}".replace("-", "−"), anchor="end"))
        return "".join(parts)


def _legend(names: Sequence[str]) -> tuple[list[tuple[float, int]], int]:
    """Left edge and line of each name, as many to a line as fit, and the number of lines."""
    places: list[tuple[float, int]] = []
    left, line = float(_LEFT), 0
    for name in names:
        wide = max(96.0, 34.0 + _LETTER * len(name))
        if left > _LEFT and left + wide > _WIDTH:
            left, line = float(_LEFT), line + 1
        places.append((left, line))
        left += wide
    return places, line + 1


def _steps(low: float, high: float, count: int) -> list[float]:
    """Round numbers from ``low`` to ``high``, about ``count``."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step)
    return [round(k * step, 10) + 0.0 for k in range(first, math.floor(high / step) + 1)]


def _colour(name: str, index: int) -> str:
    """Of a stem always the same, in all plots; of other names by their place."""
    known = {"vocals": 0, "drums": 1, "bass": 2, "other": 3}
    return COLOURS[known.get(name, index + len(known)) % len(COLOURS)]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke-width="1.3"/>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _fitted(name: str, ending: str, wide: float) -> str:
    """The name and its ending, the name cut where its neighbours' would touch it."""
    room = max(1, int(wide / _LETTER) - len(ending))
    return (name if len(name) <= room else f"{name[: max(1, room - 1)]}…") + ending


def _figure(parts: Sequence[str], title: str, described: str, height: int = _HEIGHT) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12" fill="currentColor">'
    )
    name = f"<title>{escape(title)}</title><desc>{escape(described)}</desc>"
    heading = f'<text x="{_LEFT}" y="14" font-weight="600">{escape(title)}</text>'
    return f"{head}{name}{heading}{''.join(parts)}</svg>\n"
