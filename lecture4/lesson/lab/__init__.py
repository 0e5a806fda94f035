"""What claims are made of: trainings, findings, figures."""

from lecture4.lesson.lab.finding import (
    Claim,
    Finding,
    above_chance,
    paired,
    resolution,
    tally,
    verdict,
)
from lecture4.lesson.lab.items import Gallery, Item, Plot, Table, Widget, png
from lecture4.lesson.lab.plots import (
    add_chance,
    add_curves,
    add_line,
    add_points,
    figure,
    mean_curve,
    panels,
    spread,
)
from lecture4.lesson.lab.trainings import Lab, Run, Tuned, accuracy, scores_of

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
    "above_chance",
    "accuracy",
    "add_chance",
    "add_curves",
    "add_line",
    "add_points",
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
