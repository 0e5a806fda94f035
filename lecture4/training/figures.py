"""Figures of a run: each takes numbers and returns a matplotlib figure."""

import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lecture4.support.files import write_atomically

TRAIN, VAL = "#1f77b4", "#d95f02"  # distinguishable by colour-blind readers


def save(draw: Callable[[], Figure], path: Path) -> None:
    """Draw a figure and write it as PNG, atomically.

    Raises:
        OSError: it cannot be written.
    """
    content = io.BytesIO()
    draw().savefig(content, dpi=150)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, content.getvalue())


def curves(history: Sequence[Mapping]) -> Figure:
    """Plot loss and accuracy of each epoch, the rows of metrics.csv, in training and validation.

    Without a validation split, in training alone.
    """
    splits = [("train", "training", TRAIN), ("val", "validation", VAL)]
    splits = [split for split in splits if all(f"{split[0]}/loss" in row for row in history)]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = range(1, len(history) + 1)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, label, colour in splits:
            values = [float(row[f"{split}/{name}"]) for row in history]
            axes.plot(epochs, values, color=colour, label=label, marker=".")
        axes.set(xlabel="epoch", ylabel="cross-entropy" if name == "loss" else name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(" and ".join(label for _, label, _ in splits).capitalize())
    return figure


def confusion(predicted: torch.Tensor, labels: torch.Tensor, class_names: Sequence[str]) -> Figure:
    """Show the confusion matrix, true classes in rows, and the most confused pairs beside it."""
    k = len(class_names)
    names = [shorten(name, 18) for name in class_names]
    matrix = torch.bincount(labels * k + predicted, minlength=k * k).view(k, k)
    share = matrix / matrix.sum(1, keepdim=True).clamp(min=1)
    side = min(max(3.5, 0.5 * k), 30)  # inches
    longest = max(map(len, names))
    left, below = 0.5 + 0.085 * longest, 0.5 + 0.065 * longest  # inches, for the names
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
        centered = {"ha": "center", "va": "center", "fontsize": 8}
        for i, j in itertools.product(ticks, ticks):
            colour = "white" if share[i, j] > 0.5 else "black"
            axes.text(j, i, int(matrix[i, j]), color=colour, **centered)

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
    """Show the first layer's weights (F, C, H, W) as images; zero is grey.

    Each filter is scaled by its own largest weight. At most 64 are shown; filters of other than
    three channels are averaged over channels.
    """
    total, filters = len(filters), filters[:64]
    if filters.shape[1] != 3:
        filters = filters.mean(1, keepdim=True)
    largest = filters.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    images = (0.5 + 0.5 * filters / largest).permute(0, 2, 3, 1)  # (F, H, W, C)
    columns = min(len(images), 5 if titles else 8)
    titles = [shorten(title, 16) for title in titles] if titles else None
    figure = _tiles(images, titles, columns, 1.4 if titles else 0.8, brightest=1)
    shown = f"{len(images)} of {total}" if total > len(images) else f"{total}"
    figure.suptitle("Templates of the classes" if titles else f"First-layer weights ({shown})")
    return figure


def wrong_predictions(
    images: torch.Tensor, labels: torch.Tensor, scores: torch.Tensor, class_names: Sequence[str]
) -> Figure:
    """Show the most confident wrong predictions: image, predicted class, true class."""
    confidence, predicted = scores.softmax(1).max(1)
    wrong = (predicted != labels).nonzero().squeeze(1)
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)[:24]].tolist()
    shown = images[worst].permute(0, 2, 3, 1)  # (F, H, W, C)
    titles = []
    for i in worst:
        name, true = (shorten(class_names[k], 14) for k in (predicted[i], labels[i]))
        titles.append(f"{name} {confidence[i]:.0%}\nis {true}")
    figure = _tiles(shown, titles, columns=6, inches=1.5, brightest=255)
    figure.suptitle(
        f"Most confident mistakes ({len(wrong):,} of {len(labels):,} test images are wrong)"
    )
    return figure


def boundary(
    points: torch.Tensor, labels: torch.Tensor, class_names: Sequence[str], classify
) -> Figure:
    """Show points (N, 2) over the decision regions of ``classify``, points -> scores."""
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


def _tiles(
    images: torch.Tensor,
    titles: Sequence[str] | None,
    columns: int,
    inches: float,
    brightest: float,
) -> Figure:
    """Show images (F, H, W, C) in rows, each below its title; the larger side has these inches.

    They share one pair of axes: a pair for each image would take several times as long.
    """
    rows = max(1, -(-len(images) // columns))
    lines = max(title.count("\n") + 1 for title in titles) if titles else 0
    above, gap = 0.17 * lines / inches, 0.1  # a title's place, between images; the larger side is 1
    h, w = (side / max(images.shape[1:3]) for side in images.shape[1:3])
    width, height = columns * (1 + gap), rows * (h + gap + above)
    figure = Figure(figsize=(max(inches * width, 4), inches * height + 0.4), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    for n, image in enumerate(images):
        x = n % columns * (1 + gap) + 0.5  # the middle of the image's upper edge
        y = n // columns * (h + gap + above) + above
        place = (x - w / 2, x + w / 2, y + h, y)
        axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=brightest, extent=place)
        if titles:
            axes.text(x, y - 0.04, titles[n], fontsize=8.5, ha="center", va="bottom")
    axes.set(xlim=(-gap / 2, width - gap / 2), ylim=(height - gap / 2, -gap / 2))
    return figure


def shorten(name: str, length: int) -> str:
    """Cut a name to ``length`` with an ellipsis, and escape dollars, which start a formula."""
    name = name if len(name) <= length else name[: length - 1].rstrip() + "…"
    return name.replace("$", r"\$")
