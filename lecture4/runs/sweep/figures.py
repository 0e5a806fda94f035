"""Figures of a sweep: each takes numbers and returns a matplotlib figure."""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter, PercentFormatter

from lecture4.training.figures import TRAIN, VAL, shorten

NAMED = 8  # points of which each shows its name


def accuracy_by_choice(
    settings: Sequence[Mapping[str, Any]],
    accuracies: Sequence[float | None],
    keys: Sequence[str],
    split: str = "validation",
) -> Figure:
    """Plot accuracy against each swept choice: a panel each, or a heat map for two.

    Args:
        settings: of each job.
        accuracies: of each job; None if it did not complete.
        keys: the swept keys; seeds are averaged, unless nothing else was swept.
        split: on which the accuracies were measured.
    """
    keys = [key for key in keys if key != "seed"] or list(keys)
    settings = [{key: job.get(key, "default") for key in keys} for job in settings]
    values = {key: _in_order(job[key] for job in settings) for key in keys}
    pairs = {tuple(map(plain, job.values())) for job in settings}
    if len(keys) == 2 and 2 * len(pairs) > math.prod(map(len, values.values())):
        figure = _heat_map(settings, accuracies, values)
        figure.suptitle(f"{split.capitalize()} accuracy of the sweep")
        return figure
    columns, rows = min(max(len(keys), 1), 3), max(1, -(-len(keys) // 3))
    figure = Figure(figsize=(max(4.4 * columns, 5.5), 3.6 * rows + 0.3), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[len(keys) :]:
        axes.axis("off")
    for axes, key in zip(panels, keys, strict=False):
        of_jobs = [job[key] for job in settings]
        _panel(axes, key, values[key], of_jobs, accuracies, joined=len(keys) == 1)
    figure.supylabel(f"{split} accuracy")
    figure.suptitle(f"{split.capitalize()} accuracy of the sweep: each job, and the mean")
    return figure


def frontier(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Plot test accuracy against seconds and FLOPs of training: means over jobs of the same name.

    A line joins the means that none of less cost reaches. Of many, these alone show their names.

    Args:
        results: by name, results.json of each completed job. If every job has an accuracy over the
            views of ``test_time``, that is plotted.
    """
    every = [job for jobs in results.values() for job in jobs]
    views = all(job.get("test_time_accuracy") is not None for job in every)
    accuracy = "test_time_accuracy" if views else "test_accuracy"
    figure = Figure(figsize=(9.4, 3.9), layout="constrained")
    costs = {"train_seconds": "seconds of training", "train_flops": "FLOPs of training"}
    for axes, (cost, label) in zip(figure.subplots(1, 2, sharey=True), costs.items(), strict=True):
        points = sorted(
            (fmean(job[cost] for job in jobs), fmean(job[accuracy] for job in jobs), name)
            for name, jobs in results.items()
        )
        axes.scatter([x for x, _, _ in points], [y for _, y, _ in points], s=22, color=TRAIN)
        reached = list(itertools.accumulate((y for _, y, _ in points), max))
        best = [p for p, before in zip(points, [-1.0, *reached], strict=False) if p[1] > before]
        axes.step([x for x, _, _ in best], [y for _, y, _ in best], where="post", color=VAL)
        for x, y, name in points if len(points) <= NAMED else best:
            left = x > points[0][0] + 0.6 * (points[-1][0] - points[0][0])
            axes.annotate(
                shorten(name, 32),
                (x, y),
                xytext=(-5 if left else 5, 4),
                textcoords="offset points",
                ha="right" if left else "left",
                fontsize=8,
            )
        axes.set(xlabel=label)
        axes.margins(x=0.1, y=0.1)
        _scale(axes, [x for x, _, _ in points])
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(alpha=0.3)
    figure.supylabel("test accuracy" + (" with views of test_time" if views else ""))
    figure.suptitle("Accuracy against what training costs")
    return figure


def importance(shares: Mapping[str, float]) -> Figure:
    """Plot each choice's share of importance in a study; the shares sum to 1."""
    figure = Figure(figsize=(6.5, 1.1 + 0.4 * len(shares)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(shares), list(shares.values()), color=TRAIN)
    axes.bar_label(bars, fmt="{:.0%}", padding=3)
    axes.invert_yaxis()
    axes.set(
        title="Importance of each choice",
        xlabel="share of what sets the best trials apart (PED-ANOVA)",
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.margins(x=0.12)
    return figure


def _panel(
    axes,
    key: str,
    values: list,
    of_jobs: Sequence,
    accuracies: Sequence[float | None],
    joined: bool,
) -> None:
    """Draw each job as a dot, and means where jobs share a value or if ``joined``."""
    numbers = all(map(_is_number, values))
    places = values if numbers else range(len(values))
    found = {place: [] for place in places}
    for value, accuracy in zip(of_jobs, accuracies, strict=True):
        if accuracy is not None:
            found[places[values.index(value)]].append(accuracy)
    dots = [(place, accuracy) for place, of_value in found.items() for accuracy in of_value]
    means = {place: fmean(of_value) for place, of_value in found.items() if of_value}
    axes.scatter([x for x, _ in dots], [y for _, y in dots], s=22, color=TRAIN, alpha=0.6)
    if joined or len(dots) > len(means):
        mark = "-" if numbers else "_"
        axes.plot(list(means), list(means.values()), mark, color=VAL, markersize=26)
    if numbers:
        _scale(axes, values)
    if not numbers:
        _name(axes.xaxis, values)
        axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set(xlabel=key)
    axes.grid(alpha=0.3)


def _scale(axes, values: Sequence[float]) -> None:
    """Make the x axis logarithmic where a linear one would crowd the small values."""
    if min(values) > 0 and max(values) / min(values) >= 10:
        axes.set_xscale("log")


def _heat_map(
    settings: Sequence[Mapping[str, Any]],
    accuracies: Sequence[float | None],
    values: Mapping[str, list],
) -> Figure:
    """Draw the mean accuracy at each pair of values; a pair that no job completed stays empty."""
    (down, rows), (right, columns) = sorted(values.items(), key=lambda item: len(item[1]))
    found: dict[tuple[int, int], list[float]] = {}
    for job, accuracy in zip(settings, accuracies, strict=True):
        place = rows.index(job[down]), columns.index(job[right])
        found.setdefault(place, []).extend([] if accuracy is None else [accuracy])
    means = {place: fmean(of_pair) for place, of_pair in found.items() if of_pair}
    image = [[means.get((i, j), math.nan) for j in range(len(columns))] for i in range(len(rows))]
    figure = Figure(figsize=(3 + 0.95 * len(columns), 2.2 + 0.7 * len(rows)), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(image, cmap="viridis", aspect="auto")
    middle = (min(means.values(), default=0) + max(means.values(), default=1)) / 2
    for i, j in found:
        mean = means.get((i, j))
        text = "–" if mean is None else f"{mean:.1%}"
        colour = "white" if mean is not None and mean < middle else "black"
        axes.text(j, i, text, ha="center", va="center", fontsize=8.5, color=colour)
    _name(axes.xaxis, columns)
    _name(axes.yaxis, rows)
    axes.set(xlabel=right, ylabel=down)
    if means:
        figure.colorbar(shown, ax=axes, format=PercentFormatter(1))
    return figure


def _name(axis, values: Sequence) -> None:
    """Label an axis with values, slanted where they are long."""
    names = [shorten(plain(value), 24) for value in values]
    slanted = axis.axis_name == "x" and max(map(len, names)) > 8
    turn = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axis.set_ticks(range(len(values)), names, fontsize=8.5, **turn)


def _in_order(values: Iterable) -> list:
    """Distinct values, ascending if they are numbers, else in order of appearance."""
    different = []
    for value in values:
        if value not in different:
            different.append(value)
    return sorted(different) if all(map(_is_number, different)) else different


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain(value: Any) -> str:
    """A setting as it is typed, without quotation marks."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace('"', "")
