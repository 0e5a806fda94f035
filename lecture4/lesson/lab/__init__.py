"""What claims are made of: trainings, findings, figures."""

from lecture4.lesson.lab.drawing import (
    Gallery,
    Item,
    Plot,
    Table,
    Widget,
    add_chance,
    add_curves,
    figure,
    mean_curve,
    panels,
    png,
    spread,
)
from lecture4.lesson.lab.finding import Claim, Finding, paired, resolution, tally, verdict
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
    "add_chance",
    "add_curves",
    "figure",
    "mean_curve",
    "paired",
    "panels",
    "png",
    "resolution",
    "scores_of",
    "spread",
    "tally",
    "verdict",
]
