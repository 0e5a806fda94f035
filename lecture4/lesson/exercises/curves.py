"""Train a small net on a file's formulas and on the lecture's, and print both loss curves."""

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lecture4.lesson.lab.trainings import Lab, Run
from lecture4.support.console import make_table, printable

EPOCHS, BAR = 8, 20  # BAR: characters of the longest one
NET = (
    *("model=convnet", "model.head=flatten", "augment=none", "preprocess=channel_standardize"),
    "model.init=orthogonal",  # a file's xavier and he draw other weights
    *("optim.lr=0.05", f"trainer.max_epochs={EPOCHS}", "trainer.precision=64-true"),
    *("trainer.accelerator=cpu", "data.batch_size=16"),
    *("data.train_size=128", "data.val_size=32", "data.test_size=32"),
    "model.blocks=[{channels: 8, kernel_size: 3, stride: 2, padding: 1, norm: batch, "
    "pool: {kind: max, kernel_size: 4}}, {channels: 8, kernel_size: 3, padding: 1}]",
)


def show(console: Console, file: Path) -> None:
    """Print the loss of each epoch with the formulas of a file and with the lecture's.

    Both nets begin with the same weights and see the same batches, in float64: right formulas give
    the same curve.

    Raises:
        ValueError: the file cannot be read to its end.
    """
    lab = Lab(data="shapes")
    with console.status(f"training on {file}"):
        own, right = (lab.train(*NET, f"formulas={name}") for name in (_quoted(file), "byhand"))
    rows = make_table("epoch", printable(file.name), "", "lecture4.byhand", "")
    curves = [run.curve("train/loss") for run in (own, right)]
    highest = max(max(curve, default=0.0) for curve in curves)
    for epoch in range(EPOCHS):
        cells = [_cells(curve, epoch, highest) for curve in curves]
        rows.add_row(str(epoch + 1), *cells[0], *cells[1])
    console.print(rows)
    console.print(_conclusion(own, *curves))


def _quoted(file: Path) -> str:
    """The path as the value of an override."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", str(file.absolute()))  # no interpolation
    return '"' + re.sub(r'(\\*)("|$)', r"\1\1\\\2", text)[:-1] + '"'


def _cells(curve: Sequence[float], epoch: int, highest: float) -> tuple[str, str]:
    """A loss, and a bar as long as it is high."""
    if epoch >= len(curve):
        return "", ""
    return f"{curve[epoch]:.4f}", "█" * round(BAR * curve[epoch] / highest)


def _conclusion(own: Run, mine: Sequence[float], right: Sequence[float]) -> str:
    if own.diverged:
        return f"The loss is no number after epoch {len(mine)}."
    difference = max(abs(a - b) for a, b in zip(mine, right, strict=True))
    if difference < 1e-6:
        return "Both curves are the same."
    return f"The curves differ by up to {difference:.2g}."
