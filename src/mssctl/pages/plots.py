"""Plots as SVG text: distributions per stem, and scores over time.

Text and axes take the color of the page around them (``currentColor``), so that a plot is legible
on light and dark ground. The colors of stems differ also for the color-blind (Okabe and Ito).
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STEMS = ("vocals", "drums", "bass", "other")
_INK = "#010203"  # replaced by currentColor, which matplotlib does not have
_DEEPEST = -30.0  # what lies below is drawn at the lower edge: it would flatten all the rest
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a name may have dollar signs
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.alpha": 0.14,
    "ytick.left": False,
    "xtick.bottom": False,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color",
         "grid.color"), _INK
    ),
}  # fmt: skip


class _Plot:
    """A figure that is being drawn, and in the end its text."""

    def __init__(self, title: str, unit: str) -> None:
        self.figure = Figure(figsize=(4.8, 2.5))
        self.axes: Axes = self.figure.add_subplot(title=title, ylabel=unit)
        self.axes.grid(axis="y")
        self.axes.yaxis.set_major_locator(MaxNLocator(5))
        self.title, self.text = title, ""

    def finish(self, values: Sequence[float], described: str) -> None:
        """Fit the axis to the values, and draw."""
        if values:
            low, high = max(min(values), _floor(values)), max(values)
            room = 0.06 * (high - low) or 1.0
            self.axes.set_ylim(low - room, high + room)
            if low - room < 0.0 < high + room:
                self.axes.axhline(0.0, color=_INK, alpha=0.45, linewidth=0.8, zorder=0)
        file = io.StringIO()
        with warnings.catch_warnings():  # of letters that the font lacks: the browser has others
            warnings.simplefilter("ignore", UserWarning)
            self.figure.savefig(
                file, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None}
            )
        head = f"<title>{escape(self.title)}</title><desc>{escape(described)}</desc>"
        text = file.getvalue().replace(_INK, "currentColor")
        text = text[text.index("<svg") :]  # no prolog: it stands inside a page
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r'(<svg [^>]*?) width="[^"]*" height="[^"]*"', r"\1", text, count=1)
        opening, rest = text.removeprefix("<svg").split(">", 1)
        self.text = f'<svg role="img"{opening}>{head}{rest}'


@contextmanager
def _plot(title: str, unit: str) -> Iterator[_Plot]:
    # The salt names what is drawn once and used often; it differs between the plots of a page.
    shown = _printable(title)
    with mpl.rc_context({**_STYLE, "svg.hashsalt": shown}):
        yield _Plot(shown, unit)


def box_plot(groups: Mapping[str, Sequence[float]], title: str, unit: str) -> str:
    """A box per group: median, quartiles, whiskers to the last value within 1.5 box heights.

    Every value is a dot as well, so that few tracks do not look like many.

    Args:
        groups: name -> one value per track; empty ones are left out.
        title: above the plot, and for readers who do not see it.
        unit: of the values; empty for none.
    """
    shown = {_printable(name): list(values) for name, values in groups.items() if len(values)}
    everything = [value for values in shown.values() for value in values]
    with _plot(title, unit) as plot:
        floor = _floor(everything)
        for place, (name, values) in enumerate(shown.items()):
            color = _color(name, place)
            box = {
                key: np.maximum(value, floor) if key != "fliers" else []
                for key, value in boxplot_stats(values)[0].items()
                if key in {"med", "q1", "q3", "whislo", "whishi", "fliers"}
            }
            line = {"color": color, "linewidth": 1.3}
            plot.axes.bxp(
                [box],
                positions=[place],
                widths=0.5,
                patch_artist=True,
                showcaps=False,
                boxprops={"facecolor": f"{color}2e", "edgecolor": color},
                medianprops={**line, "linewidth": 2.5},
                whiskerprops=line,
            )
            dots = np.maximum(values, floor)
            plot.axes.plot([place + 0.36] * len(dots), dots, ".", color=color, markersize=5)
        room = max(6, 64 // max(1, len(shown)))
        labels = [_fitted(name, f" ({len(values)})", room) for name, values in shown.items()]
        plot.axes.set_xticks(range(len(shown)), labels)
        middles = (f"{n}: median {float(np.median(v)):.2f} {unit}" for n, v in shown.items())
        plot.finish(everything, "; ".join(middles))
    return plot.text


def over_time(
    series: Mapping[str, Sequence[tuple[float, float | None]]], title: str, unit: str
) -> str:
    """A line per stem; it is broken where there is no value.

    Args:
        series: name -> (seconds, value or None).
        title: above the plot.
        unit: of the values.
    """
    series = {_printable(name): line for name, line in series.items()}
    everything = [value for line in series.values() for _, value in line if value is not None]
    with _plot(title, unit) as plot:
        floor, lines = _floor(everything), []
        for place, (name, line) in enumerate(series.items()):
            seconds = [time for time, _ in line]
            values = [np.nan if value is None else value for _, value in line]
            lines += plot.axes.plot(seconds, np.maximum(values, floor), color=_color(name, place))
        plot.axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        plot.axes.xaxis.set_major_formatter(
            FuncFormatter(lambda time, _: f"{int(time) // 60}:{int(time) % 60:02d}")
        )
        columns = max(1, 60 // (6 + max(map(len, series), default=1)))
        plot.axes.legend(
            lines,
            list(series),
            loc="upper left",
            bbox_to_anchor=(0.0, -0.12),
            ncols=columns,
            frameon=False,
        )
        plot.finish(everything, f"{unit} over time for {', '.join(series)}")
    return plot.text


def _printable(name: str) -> str:
    """A name without what XML and fonts refuse: control characters, and bytes of no encoding."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name)


def _floor(values: Sequence[float]) -> float:
    """What lower values are drawn at."""
    return min(_DEEPEST, max(values, default=0.0) - 1.0)


def _color(name: str, place: int) -> str:
    """Of a stem always the same, in all plots; of other names by their place."""
    index = _STEMS.index(name) if name in _STEMS else place + len(_STEMS)
    return COLORS[index % len(COLORS)]


def _fitted(name: str, ending: str, room: int) -> str:
    """The name and its ending, the name cut where its neighbors' would touch it."""
    room = max(2, room - len(ending))
    return (name if len(name) <= room else f"{name[: room - 1]}…") + ending
