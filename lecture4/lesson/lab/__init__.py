"""The laboratory: what a claim is, how it trains and measures, how it draws."""

from lecture4.lesson.lab.drawing import (
    Gallery,
    Item,
    Plot,
    Table,
    Widget,
    curves,
    figure,
    panels,
    png,
    spread,
)
from lecture4.lesson.lab.finding import Claim, Finding, paired, resolution, verdict
from lecture4.lesson.lab.trainings import Lab, Run, Tuned, scores_of

__all__ = [
    "Claim",
    "Finding",
    "Gallery",
    "Item",
    "Lab",
    "Plot",
    "Run",
    "Table",
    "Tuned",
    "Widget",
    "curves",
    "figure",
    "paired",
    "panels",
    "png",
    "resolution",
    "scores_of",
    "spread",
    "verdict",
]
