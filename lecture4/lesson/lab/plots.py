"""Figures: axes, panels, lines, and curves of several seeds with their range."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lecture4.lesson.lab.items import Plot

# Distinguishable by colour-blind readers, on white and on black: after Okabe & Ito 2008.
COLOURS = ("#2f7fc1", "#e0801f", "#1c9e77", "#c65a9b", "#8a7f2a", "#7a6fd0", "#d1495b", "#7f8c8d")


def figure(
    x: str = "", y: str = "", *, log_x: bool = False, log_y: bool = False, **layout: Any
) -> go.Figure:
    """An empty figure with named axes. The page colours text and grid by its theme."""
    made = go.Figure(layout={"template": None, "colorway": COLOURS, **layout})
    made.update_xaxes(title=x, type="log" if log_x else None)
    made.update_yaxes(title=y, type="log" if log_y else None)
    return made


def panels(rows: int, cols: int, titles: Sequence[str] = (), **layout: Any) -> go.Figure:
    """An empty figure of several panels; spacings as in plotly's ``make_subplots``."""
    spacing = {key: layout.pop(key) for key in list(layout) if key.endswith(("spacing", "axes"))}
    made = make_subplots(rows, cols, subplot_titles=list(titles), **spacing)
    made.update_layout(template=None, colorway=COLOURS, **layout)
    made.update_annotations(font_size=13)
    return made


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean (lowest–highest) of the seeds' values."""
    low, high = (f"{v:.{digits}f}" for v in (min(values), max(values)))
    return f"{statistics.fmean(values):.{digits}f} ({low}–{high})"


def percent(values: Any) -> Any:
    """Fractions times 100; a list, or lists within it, number by number."""
    return [percent(v) for v in values] if isinstance(values, list | tuple) else 100 * values


def mean_curve(runs: Sequence[Sequence[float]]) -> list[float]:
    """The mean over seeds at each point of their curves."""
    return [statistics.fmean(point) for point in zip(*runs, strict=True)]


def lines(
    along: Sequence[float],
    series: Mapping[str, Sequence[Sequence[float]]],
    *,
    x: str,
    y: str,
    log: str = "",
    chance: float | None = None,
    caption: str,
    alt: str = "",
    digits: int = 1,
    **layout: Any,
) -> Plot:
    """Draw a line for each series: the mean of its runs, and a band from lowest to highest.

    Args:
        along: where the values were measured.
        series: name in the legend -> one run for each seed, each as long as ``along``.
        x: title of the axis.
        y: title of the axis.
        log: ``x``, ``y`` or ``xy``: the logarithmic axes.
        chance: accuracy of guessing, marked with a dotted line; the axis then is in % and has zero.
        caption: of the plot.
        alt: the first sentence for readers who cannot see the plot; without it, the mean of each
            series at both ends.
        digits: of these means.
        layout: of the figure, such as ``height``.
    """
    drawn = figure(x, y, log_x="x" in log, log_y="y" in log, **layout)
    for colour, (name, runs) in enumerate(series.items()):
        add_curves(drawn, along, runs, name, colour, mode="lines+markers")
    if chance is not None:
        add_chance(drawn, 100 * chance)
        drawn.update_yaxes(rangemode="tozero")
    ends = "; ".join(
        f"{name} from {ends[0]:.{digits}f} to {ends[-1]:.{digits}f}"
        for name, ends in ((name, mean_curve(runs)) for name, runs in series.items())
    )
    return Plot(drawn, alt or f"{y} against {x}: {ends}.", caption)


def add_chance(drawn: go.Figure, chance: float) -> None:
    """Mark the accuracy of chance, in %, with a dotted line."""
    drawn.add_hline(
        chance,
        line={"dash": "dot", "color": COLOURS[7]},
        annotation_text="chance",
        annotation_position="bottom right",
    )


def add_curves(
    drawn: go.Figure,
    x: Sequence[float],
    runs: Sequence[Sequence[float]],
    name: str,
    colour: int = 0,
    **place: Any,
) -> None:
    """Add the mean of the seeds' curves to a figure, and a band from lowest to highest.

    Args:
        drawn: the figure.
        x: where the curves were measured.
        runs: one curve for each seed, as long as ``x``.
        name: in the legend.
        colour: index into ``COLOURS``.
        place: ``row`` and ``col`` of a subplot, or options of the line such as ``mode``.
    """
    values, tone = np.asarray(runs, dtype=float), COLOURS[colour % len(COLOURS)]
    spot = {key: place.pop(key) for key in ("row", "col") if key in place}
    x = list(x)
    if len(values) > 1:
        drawn.add_scatter(
            x=x + x[::-1],
            y=[*values.max(0), *values.min(0)[::-1]],
            mode="lines",
            fill="toself",
            fillcolor=tone,
            opacity=0.2,
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
            **spot,
        )
    line = {"mode": "lines", "line": {"color": tone, "width": 2}, "legendgroup": name, **place}
    drawn.add_scatter(x=x, y=list(values.mean(0)), name=name, **line, **spot)


def add_line(
    drawn: go.Figure,
    x: Iterable[Any],
    y: Iterable[float | None],
    name: str,
    colour: int,
    dash: str = "solid",
    width: float = 2,
    **options: Any,
) -> None:
    """Add a line; ``colour`` is an index into ``COLOURS``, options as in ``add_scatter``."""
    line = {"color": COLOURS[colour % len(COLOURS)], "dash": dash, "width": width}
    drawn.add_scatter(x=list(x), y=list(y), name=name, line=line, **{"mode": "lines", **options})


def add_points(
    drawn: go.Figure,
    x: Iterable[Any],
    y: Iterable[float | None],
    name: str,
    colour: int,
    size: float = 6,
    symbol: str = "circle",
    **options: Any,
) -> None:
    """Add points; arguments as in ``add_line``."""
    marker = {"color": COLOURS[colour % len(COLOURS)], "size": size, "symbol": symbol}
    drawn.add_scatter(x=list(x), y=list(y), name=name, mode="markers", marker=marker, **options)
