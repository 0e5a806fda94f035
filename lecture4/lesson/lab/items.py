"""What a claim shows: plots, tables, galleries of pictures, and interactive widgets."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from PIL import Image


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
