"""Weights and activation maps as pictures (claim ``learned``)."""

from collections.abc import Mapping

import plotly.graph_objects as go
import torch
from torchvision.utils import make_grid

from lecture4.lesson.lab import panels, png


def grey(weights: torch.Tensor) -> torch.Tensor:
    """Weights (N, C, H, W) as pictures: zero is grey, the largest of each white or black."""
    scaled = weights / weights.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    return ((scaled + 1) * 127.5).round().to(torch.uint8)


def bright(activations: torch.Tensor) -> torch.Tensor:
    """Maps (N, H, W) as pictures (N, 3, H, W): zero is black, the largest of each white."""
    scaled = activations.clamp(min=0) / activations.amax((1, 2), keepdim=True).clamp(min=1e-12)
    return (scaled * 255).round().to(torch.uint8)[:, None].expand(-1, 3, -1, -1)


def enlarged(pictures: torch.Tensor, times: int = 4) -> torch.Tensor:
    """Enlarge each pixel of (N, C, H, W) to a square."""
    return pictures.repeat_interleave(times, 2).repeat_interleave(times, 3)


def mosaic(pictures: torch.Tensor) -> str:
    """Pictures (N, 3, H, W) side by side in one ``png``, separated by a transparent pixel."""
    n = len(pictures)
    columns = max(c for c in range(1, n + 1) if n % c == 0 and c * c <= 2 * n)
    opaque = torch.nn.functional.pad(pictures, (0, 0, 0, 0, 0, 1), value=255)  # (N, 4, H, W)
    return png(make_grid(opaque, columns, padding=1)[:, 1:-1, 1:-1])


def side_by_side(pictures: Mapping[str, str], height: int) -> go.Figure:
    """Results of ``png`` under their titles, two in a row."""
    spacing = {"horizontal_spacing": 0.04, "vertical_spacing": 0.08}
    margin = {"l": 4, "r": 4, "t": 30, "b": 4}
    rows = -(-len(pictures) // 2)
    drawn = panels(rows, 2, list(pictures), height=height, margin=margin, **spacing)
    for i, source in enumerate(pictures.values()):
        drawn.add_image(source=source, hoverinfo="skip", row=i // 2 + 1, col=i % 2 + 1)
    drawn.update_xaxes(visible=False)
    drawn.update_yaxes(visible=False)
    return drawn
