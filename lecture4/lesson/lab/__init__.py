"""The vocabulary of claims: trainings, comparisons, findings, figures."""

from lecture4.lesson.lab.comparison import Comparison, Variant
from lecture4.lesson.lab.descent import descend
from lecture4.lesson.lab.finding import (
    Finding,
    as_good,
    better,
    exact,
    learned,
    paired,
    ratio,
    resolution,
    tally,
    verdict,
)
from lecture4.lesson.lab.items import Gallery, Item, Plot, Table, Widget, png
from lecture4.lesson.lab.plots import (
    COLOURS,
    add_chance,
    add_curves,
    add_line,
    add_points,
    figure,
    lines,
    mean_curve,
    panels,
    percent,
    spread,
)
from lecture4.lesson.lab.published import Published
from lecture4.lesson.lab.trainings import Lab, Run, accuracy, scores_of

__all__ = [
    "COLOURS",
    "Comparison",
    "Finding",
    "Gallery",
    "Item",
    "Lab",
    "Plot",
    "Published",
    "Run",
    "Table",
    "Variant",
    "Widget",
    "accuracy",
    "add_chance",
    "add_curves",
    "add_line",
    "add_points",
    "as_good",
    "better",
    "descend",
    "exact",
    "figure",
    "learned",
    "lines",
    "mean_curve",
    "paired",
    "panels",
    "percent",
    "png",
    "ratio",
    "resolution",
    "scores_of",
    "spread",
    "tally",
    "verdict",
]
