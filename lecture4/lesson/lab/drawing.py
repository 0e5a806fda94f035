"""What a claim shows: plots, tables, galleries of pictures, and interactive widgets."""

import base64
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from PIL import Image
from plotly.subplots import make_subplots

# Distinguishable by colour-blind readers, on white and on black: after Okabe & Ito 2008.
COLOURS = ("#2f7fc1", "#e0801f", "#1c9e77", "#c65a9b", "#8a7f2a", "#7a6fd0", "#d1495b", "#7f8c8d")


@dataclass(frozen=True)
class Plot:
    """A figure; ``alt`` says in one sentence what it shows, for readers who cannot see it."""

    figure: go.Figure
    alt: str
    caption: str


@dataclass(frozen=True)
class Table:
    """Rows of text or numbers under a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Small pictures side by side, each a pair (result of ``png``, label)."""

    pictures: Sequence[tuple[str, str]]
    alt: str
    caption: str


@dataclass(frozen=True)
class Widget:
    """An interactive part of the page.

    Args:
        name: of its script in ``lecture4/lesson/page/widgets``.
        data: passed to the script.
        alt: what it shows and how to use it, in one sentence.
        caption: below it.
    """

    name: str
    data: Mapping[str, Any]
    alt: str
    caption: str = field(default="")


Item = Plot | Table | Gallery | Widget


def figure(
    x: str = "", y: str = "", *, log_x: bool = False, log_y: bool = False, **layout: Any
) -> go.Figure:
    """An empty figure with named axes. The page colours text and grid by its theme."""
    made = go.Figure(layout={"template": None, "colorway": COLOURS, **layout})
    made.update_xaxes(title=x, type="log" if log_x else None)
    made.update_yaxes(title=y, type="log" if log_y else None)
    return made


def panels(rows: int, cols: int, titles: Sequence[str] = (), **layout: Any) -> go.Figure:
    """An empty figure of several panels; spacings are those of plotly's ``make_subplots``."""
    spacing = {key: layout.pop(key) for key in list(layout) if key.endswith(("spacing", "axes"))}
    made = make_subplots(rows, cols, subplot_titles=list(titles), **spacing)
    made.update_layout(template=None, colorway=COLOURS, **layout)
    made.update_annotations(font_size=13)
    return made


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean (lowest–highest) of the seeds' values."""
    low, high = (f"{v:.{digits}f}" for v in (min(values), max(values)))
    return f"{statistics.fmean(values):.{digits}f} ({low}–{high})"


def mean_curve(runs: Sequence[Sequence[float]]) -> list[float]:
    """The mean over seeds at each point of their curves."""
    return [statistics.fmean(point) for point in zip(*runs, strict=True)]


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


def png(pixels: torch.Tensor) -> str:
    """A picture as a ``data:image/png`` address, which JSON can hold and a page can show.

    Args:
        pixels: (C, H, W) or (H, W), uint8, or floats, which are stretched from black to white.
    """
    pixels = pixels.detach().cpu()
    if pixels.is_floating_point():
        low, high = pixels.min(), pixels.max()
        pixels = ((pixels - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)
    array = pixels.numpy()
    if array.ndim == 3:
        array = array[0] if len(array) == 1 else array.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
