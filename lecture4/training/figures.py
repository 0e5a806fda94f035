"""Figures from records: each takes numbers and returns a matplotlib figure; none trains."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

TRAIN, VAL = "#1f77b4", "#d95f02"  # told apart by the colour-blind, too


def curves(history: Sequence[Mapping]) -> Figure:
    """Loss and accuracy against epoch, training and validation; ``history`` is metrics.csv."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = range(1, len(history) + 1)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, label, colour in (("train", "training", TRAIN), ("val", "validation", VAL)):
            values = [float(row[f"{split}/{name}"]) for row in history]
            axes.plot(epochs, values, color=colour, label=label, marker=".")
        axes.set(xlabel="epoch", ylabel="cross-entropy" if name == "loss" else name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle("Training and validation")
    return figure


def confusion(predicted: torch.Tensor, labels: torch.Tensor, class_names: Sequence[str]) -> Figure:
    """Confusion matrix, each row a true class, and the pairs most often confused beside it."""
    k = len(class_names)
    names = [shorten(name, 18) for name in class_names]
    # torchmetrics' matrix would, in deterministic mode, compare every image with all k² cells
    matrix = torch.bincount(labels * k + predicted, minlength=k * k).view(k, k)
    share = matrix / matrix.sum(1, keepdim=True).clamp(min=1)
    side = min(max(3.5, 0.5 * k), 30)  # inches
    longest = max(map(len, names))
    left, below = 0.5 + 0.085 * longest, 0.5 + 0.065 * longest  # inches for the names
    width, height = left + side + 3.6, below + side + 0.4
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, below / height, side / width, side / height))
    axes.imshow(share.numpy(), cmap="Blues", vmin=0, vmax=1)
    ticks = range(k)
    size = min(10, 55 * side / k)
    axes.set_xticks(ticks, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(ticks, names, fontsize=size)
    axes.set_title("Confusion matrix (test)")
    figure.text((left + side / 2) / width, 0.1 / height, "predicted", ha="center")
    figure.text(0.1 / width, (below + side / 2) / height, "true", va="center", rotation=90)
    if k <= 20:
        for i in ticks:
            for j in ticks:
                colour = "white" if share[i, j] > 0.5 else "black"
                axes.text(
                    j, i, int(matrix[i, j]), ha="center", va="center", color=colour, fontsize=8
                )

    both = (matrix + matrix.T).triu(1).flatten()
    worst = both.argsort(descending=True, stable=True)[:8].tolist()
    lines = [f"{names[n // k]} / {names[n % k]}: {both[n]}" for n in worst if both[n]]
    x, top = (left + side + 0.25) / width, (below + side) / height
    figure.text(x, top, "Most confused pairs", weight="bold", va="top")
    figure.text(
        x, top - 0.3 / height, "\n".join(lines) or "none", va="top", fontsize=9, linespacing=1.7
    )
    return figure


def first_layer(filters: torch.Tensor, titles: Sequence[str] | None = None) -> Figure:
    """What the first layer looks for: (F, C, H, W) weights as images, grey is zero.

    Each filter is scaled by its own largest weight. At most 64 are shown; of filters deeper than
    three channels, the mean over the channels.
    """
    total, filters = len(filters), filters[:64]
    if filters.shape[1] != 3:
        filters = filters.mean(1, keepdim=True)
    largest = filters.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    images = (0.5 + 0.5 * filters / largest).permute(0, 2, 3, 1)  # (F, H, W, C)
    columns = min(len(images), 5 if titles else 8)
    rows = -(-len(images) // columns)
    cell = 1.5 if titles else 0.9
    figure = Figure(figsize=(max(columns * cell, 4), rows * cell + 0.6), layout="constrained")
    for n, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if n < len(images):
            axes.imshow(images[n].numpy(), cmap="gray", vmin=0, vmax=1)
            if titles:
                axes.set_title(shorten(titles[n], 16), fontsize=9)
    shown = f"{len(images)} of {total}" if total > len(images) else f"{total}"
    figure.suptitle("Templates of the classes" if titles else f"First-layer weights ({shown})")
    return figure


def mistakes(
    images: torch.Tensor, labels: torch.Tensor, scores: torch.Tensor, class_names: Sequence[str]
) -> Figure:
    """The wrong predictions of highest probability: image, what it is, what was said."""
    confidence, predicted = scores.softmax(1).max(1)
    wrong = (predicted != labels).nonzero().squeeze(1)
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)[:24]].tolist()
    columns, rows = 6, max(1, -(-len(worst) // 6))
    figure = Figure(figsize=(9.6, 1.95 * rows + 0.7), layout="constrained")
    for n, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if n < len(worst):
            i = worst[n]
            axes.imshow(images[i].permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=255)
            said, true = (shorten(class_names[k], 14) for k in (predicted[i], labels[i]))
            axes.set_title(f"{said} {confidence[i]:.0%}\nis {true}", fontsize=8.5)
    figure.suptitle(
        f"Most confident mistakes ({len(wrong):,} of {len(labels):,} test images are wrong)"
    )
    return figure


def boundary(
    points: torch.Tensor, labels: torch.Tensor, class_names: Sequence[str], classify
) -> Figure:
    """Points in the plane over the class that ``classify`` (points -> scores) gives each place."""
    reach = 1.1 * points.abs().max().item()
    line = torch.linspace(-reach, reach, 300)
    grid = torch.cartesian_prod(line, line)  # (x, y), x the slower
    with torch.no_grad():
        regions = classify(grid).argmax(1).view(300, 300).T
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axes = figure.subplots()
    levels = [k - 0.5 for k in range(len(class_names) + 1)]
    axes.contourf(
        line.numpy(), line.numpy(), regions.numpy(), levels=levels, colors=[TRAIN, VAL], alpha=0.25
    )
    for k, name in enumerate(class_names):
        x, y = points[labels == k].T.numpy()
        axes.scatter(x, y, s=6, color=(TRAIN, VAL)[k % 2], label=shorten(name, 30))
    axes.set(xlabel="x", ylabel="y", title="Test points and decision regions", aspect="equal")
    axes.legend(loc="upper right")
    return figure


def sweep(
    settings: Sequence[Mapping[str, Any]], accuracies: Sequence[float | None], keys: Sequence[str]
) -> Figure:
    """Validation accuracy against each swept choice: a panel each, or a heat map for two.

    Args:
        settings: of each job.
        accuracies: of each job; None if it did not complete.
        keys: what was swept; seeds are averaged, unless nothing else was.
    """
    keys = [key for key in keys if key != "seed"] or list(keys)
    settings = [{key: job.get(key, "default") for key in keys} for job in settings]
    values = {key: _in_order(job[key] for job in settings) for key in keys}
    pairs = {tuple(map(plain, job.values())) for job in settings}
    if len(keys) == 2 and 2 * len(pairs) > math.prod(map(len, values.values())):
        return _heat_map(settings, accuracies, values)
    columns, rows = min(max(len(keys), 1), 3), max(1, -(-len(keys) // 3))
    figure = Figure(figsize=(max(4.4 * columns, 5.5), 3.6 * rows + 0.3), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[len(keys) :]:
        axes.axis("off")
    for axes, key in zip(panels, keys, strict=False):
        of_jobs = [job[key] for job in settings]
        _panel(axes, key, values[key], of_jobs, accuracies, joined=len(keys) == 1)
    figure.suptitle("Validation accuracy of the sweep: each job, and the mean")
    return figure


def importance(shares: Mapping[str, float]) -> Figure:
    """How much each choice of a study tells of its outcome, the most first; they sum to 1."""
    figure = Figure(figsize=(6.5, 1.1 + 0.4 * len(shares)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(shares), list(shares.values()), color=TRAIN)
    axes.bar_label(bars, fmt="{:.0%}", padding=3)
    axes.invert_yaxis()
    axes.set(title="Importance of each choice", xlabel="share of what a random forest explains")
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
    """Each job as a dot, and the mean at each value, where several jobs share one or ``joined``."""
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
    if numbers and min(values) > 0 and max(values) / min(values) >= 10:
        axes.set_xscale("log")
    if not numbers:
        _name(axes.xaxis, values)
        axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set(xlabel=key, ylabel="validation accuracy")
    axes.grid(alpha=0.3)


def _heat_map(
    settings: Sequence[Mapping[str, Any]],
    accuracies: Sequence[float | None],
    values: Mapping[str, list],
) -> Figure:
    """Mean accuracy at each pair of values; a pair at which no job completed stays empty."""
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
        text = "failed" if mean is None else f"{mean:.1%}"
        colour = "white" if mean is not None and mean < middle else "black"
        axes.text(j, i, text, ha="center", va="center", fontsize=8.5, color=colour)
    _name(axes.xaxis, columns)
    _name(axes.yaxis, rows)
    axes.set(xlabel=right, ylabel=down, title="Validation accuracy of the sweep")
    if means:
        figure.colorbar(shown, ax=axes, format=PercentFormatter(1))
    return figure


def _name(axis, values: Sequence) -> None:
    """Put values as names onto an axis, slanted where they are long."""
    names = [shorten(plain(value), 24) for value in values]
    slanted = axis.axis_name == "x" and max(map(len, names)) > 8
    turn = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axis.set_ticks(range(len(values)), names, fontsize=8.5, **turn)


def _in_order(values: Iterable) -> list:
    """Different values, ascending if they are numbers, else as they came."""
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


def shorten(name: str, length: int) -> str:
    """A name that fits: what is too long ends in an ellipsis; a dollar is no formula."""
    name = name if len(name) <= length else name[: length - 1].rstrip() + "…"
    return name.replace("$", r"\$")
