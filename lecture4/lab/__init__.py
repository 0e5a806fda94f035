"""The laboratory: what a claim is, how it trains and measures, how it draws."""

from lecture4.lab.claim import Claim, Finding, verdict
from lecture4.lab.drawing import Gallery, Item, Plot, Table, Widget, curves, figure, png
from lecture4.lab.lab import Lab, Run

__all__ = [
    "Claim",
    "Finding",
    "Gallery",
    "Item",
    "Lab",
    "Plot",
    "Run",
    "Table",
    "Widget",
    "curves",
    "figure",
    "png",
    "verdict",
]
