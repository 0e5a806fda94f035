"""Bugs and what catches them: the sanity checks before training, and the loss curve."""

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import fmean as mean

import torch

from lecture4.data.randomness import generator
from lecture4.lesson.exercises.catalogue import (
    Mistake,
    adam,
    convolution,
    dense,
    losses,
    normalization,
    planted,
    pooling,
    regularization,
)
from lecture4.lesson.lab import (
    COLOURS,
    Finding,
    Item,
    Lab,
    Plot,
    Table,
    add_curves,
    add_line,
    figure,
)
from lecture4.training import sanity
from lecture4.training.classifier import Classifier
from lecture4.training.datamodule import DataModule

TITLE = "Bugs and what catches them"
BUGS = (
    convolution.flipped_kernel,
    dense.missing_bias,
    dense.transposed_weight,
    pooling.assignment_in_pooling,
    losses.softmax_over_the_wrong_axis,
    losses.gradient_not_divided_by_n,
    regularization.dropout_left_on,
    normalization.batch_statistics_left_on,
    normalization.fixed_statistics_in_the_backward,
    adam.adam_without_bias_correction,
    regularization.penalty_rewarded,
    dense.gradient_that_is_no_number,
    dense.scores_that_ignore_the_input,
)
QUOTE = [
    "Gradient descent: update weights iteratively - move in opposite to gradient.",
    r"$$w^{\tau+1} = w^\tau - \eta \Delta E(w^\tau)$$",
]
TEXT = (
    f"{len(BUGS)} common bugs are planted, one at a time, in the formulas by "
    "hand: a flipped kernel, a missing bias, = instead of += in a backward. A small net trains "
    "with each and without any, on the same batches, and the checks of sanity=true run on "
    "each. See whether there are bugs that the loss curve does not show, because the net "
    "learns in spite of them."
)
FORMULAS = [
    r"L_{\text{start}} \approx \ln K",
    r"\frac{\partial L}{\partial w} \approx \frac{L(w+h) - L(w-h)}{2h}",
]
CODE = [
    sanity.run,
    sanity.gradients_three_ways,
    sanity.same_as_other_layers,
    pooling.assignment_in_pooling.source,
]
SOUND = "sound"
BATCH, HELD_OUT, STRETCH = 64, 500, 10  # STRETCH: steps averaged for a curve's start and end
# Each at the rate, of those tried, at which the sound net learns fastest.
NETS = {
    "MLP": ("model=mlp", "model.hidden=[24,24]", "optim.lr=0.001"),
    "ConvNet": (
        "model=convnet",
        "model.blocks=["
        "{channels: 16, stride: 2, padding: 1, norm: batch, pool: {kernel_size: 3, stride: 2}},"
        "{channels: 16, pool: {kernel_size: 3, stride: 2, kind: avg}}]",
        "model.head=flatten",
        "model.dropout=0.2",
        "optim.lr=0.003",
    ),
}
TRAINING = ("optim=adam", "penalty=l2", "penalty.strength=0.0001", "formulas=byhand")
IN_CONVNET = (  # the others affect every net, and are planted in the MLP
    convolution.flipped_kernel,
    pooling.assignment_in_pooling,
    regularization.dropout_left_on,
    normalization.batch_statistics_left_on,
    normalization.fixed_statistics_in_the_backward,
)

Losses = list[float | None]  # None where the loss is NaN or infinite


@dataclass
class Row:
    """A net with one bug, or without: every seed's losses and failed checks."""

    name: str
    net: str
    loss: list[Losses]  # of each step
    held_out: Losses  # after training, in evaluation mode
    failed: list[list[str]]

    @property
    def begin(self) -> Losses:
        """Mean loss of the first steps."""
        return [_mean(losses[:STRETCH]) for losses in self.loss]

    @property
    def end(self) -> Losses:
        """Mean loss of the last steps."""
        return [_mean(losses[-STRETCH:]) for losses in self.loss]


@dataclass
class Measured:
    """Every row, and the numbers that its captions name."""

    seeds: list[int]
    checked_seeds: list[int]
    checks: list[str]
    classes: int
    steps: int
    held_out_images: int
    rows: list[Row]

    def sound(self, net: str) -> Row:
        """The row of a net without a bug."""
        return next(row for row in self.rows if row.net == net and row.name == SOUND)

    @property
    def buggy(self) -> list[Row]:
        """The rows of nets with a bug."""
        return [row for row in self.rows if row.name != SOUND]

    @property
    def in_training(self) -> list[Row]:
        """The rows of bugs that change training, and not only evaluation."""
        return [row for row in self.buggy if row.loss != self.sound(row.net).loss]


def measure(lab: Lab) -> Measured:
    """Train with each bug and without, and run the sanity checks on each."""
    steps, seeds = lab.pick(50, 250), lab.seeds(3)
    checked_seeds = lab.pick(seeds[:1], seeds)
    untrained, data = lab.assemble("model=softmax")
    rows = []
    for name, net, bug in cases():
        lab.note(f"{net}, {'no bug' if name == SOUND else name}")
        # A check may fail by chance where there is no bug, so sound nets are checked every time.
        checked = seeds if name == SOUND else checked_seeds
        with planted(bug) if bug else nullcontext():
            runs = [_train(_net(lab, net, untrained, s), data, steps, s) for s in seeds]
            failed = [_failed(_net(lab, net, untrained, s), data) for s in checked]
        losses, held_out = (list(column) for column in zip(*runs, strict=True))
        rows.append(Row(name, net, losses, held_out, failed))
    return Measured(
        seeds,
        checked_seeds,
        [check[0] for check in sanity.CHECKS],
        len(untrained.class_names),
        steps,
        len(data.val_index[:HELD_OUT]),
        rows,
    )


def cases() -> Iterator[tuple[str, str, Mistake | None]]:
    """Name of the bug, net, and the bug; first each net without one."""
    for net in NETS:
        yield SOUND, net, None
        for bug in BUGS:
            if (bug in IN_CONVNET) == (net == "ConvNet"):
                yield bug.title, net, bug


def _net(lab: Lab, net: str, untrained: Classifier, seed: int) -> Classifier:
    """An untrained net; every seed's has the same preprocessing, since all train on one split."""
    classifier, _ = lab.assemble(*NETS[net], *TRAINING, seed=seed)
    classifier.preprocess = untrained.preprocess
    return classifier


def _train(
    classifier: Classifier, data: DataModule, steps: int, seed: int
) -> tuple[Losses, float | None]:
    """Loss of each step, and the final loss of held-out images in evaluation mode."""
    pick = torch.randint(len(data.train_index), (steps, BATCH), generator=generator(seed))
    inputs, labels = data.dataset.train_inputs, data.dataset.train_labels
    optimizer = classifier.optimizer(classifier.model.parameters())
    losses = []
    for index in data.train_index[pick]:
        scores = classifier(inputs[index])
        losses.append(_number(classifier.cross_entropy(scores, labels[index])))
        optimizer.zero_grad()
        classifier.objective(scores, labels[index]).backward()
        optimizer.step()
    index = data.val_index[:HELD_OUT]
    with torch.no_grad():
        scores = classifier.eval()(inputs[index])
    return losses, _number(classifier.cross_entropy(scores, labels[index]))


def _number(loss: torch.Tensor) -> float | None:
    return loss.item() if math.isfinite(loss.item()) else None


def _failed(classifier: Classifier, data: DataModule) -> list[str]:
    return [check.name for check in sanity.run(classifier, data)[0] if check.passed is False]


def _mean(losses: Sequence[float | None]) -> float | None:
    return None if None in losses else mean(losses)


def change(m: Measured, row: Row, mark: str) -> Losses:
    """``begin``, ``end`` or ``held_out`` minus the sound net's, for the same seed."""
    pairs = zip(getattr(row, mark), getattr(m.sound(row.net), mark), strict=True)
    return [None if None in pair else pair[0] - pair[1] for pair in pairs]


def scatter(m: Measured, net: str, mark: str) -> float | None:
    """How far the sound net's seeds lie apart."""
    values = getattr(m.sound(net), mark)
    return None if None in values else max(values) - min(values)


def unremarkable(m: Measured) -> list[list[str]]:
    """For each seed, the training bugs whose marks deviate no more than another seed's would."""

    def alike(row: Row, s: int) -> bool:
        marks = [
            (change(m, row, k)[s], scatter(m, row.net, k)) for k in ("begin", "end", "held_out")
        ]
        return all(None not in pair and abs(pair[0]) <= pair[1] for pair in marks)

    return [[row.name for row in m.in_training if alike(row, s)] for s in range(len(m.seeds))]


def judge(m: Measured) -> Iterator[Finding]:
    """Checks must find every bug and raise no false alarm; curves must hide some bugs."""
    yield Finding(
        "found",
        f"bugs, of {len(m.buggy)}, that at least one check finds",
        [sum(bool(row.failed[s]) for row in m.buggy) for s in range(len(m.checked_seeds))],
        at_least=len(m.buggy),
        why="every one",
        definition=f"With {_seeds(m)}.",
    )
    sound = [row for row in m.rows if row.name == SOUND]
    yield Finding(
        "false alarms",
        "checks that fail where there is no bug",
        [sum(len(row.failed[s]) for row in sound) for s in range(len(m.seeds))],
        at_most=0,
        why="a sound net passes every check",
    )
    trained = len(m.in_training)
    yield Finding(
        "hidden",
        f"share of the {trained} bugs in training that the loss does not show",
        [100 * len(names) / max(1, trained) for names in unremarkable(m)],
        at_least=25,
        why="watching the curve alone would miss one bug in four",
        unit="%",
        definition="The start and end of the curve and the held-out loss differ from the sound "
        "net's, for the same seed, by no more than the sound net's seeds differ.",
    )


def _seeds(m: Measured) -> str:
    seeds = m.checked_seeds
    return f"seed {seeds[0]} only" if len(seeds) == 1 else f"each of {len(seeds)} seeds"


def draw(m: Measured) -> Iterator[Item]:
    """The curves of each net, and a table of all bugs."""
    yield from (_curves(m, net) for net in NETS)
    yield _table(m)


def _curves(m: Measured, net: str) -> Plot:
    made = figure("step", "training loss (nats)", height=460)
    x = list(range(1, m.steps + 1))
    right = [_smooth(losses) for losses in m.sound(net).loss]
    add_curves(made, x, right, "no bug", 7, line={"width": 5, "color": COLOURS[7]})
    wrong = [row for row in m.buggy if row.net == net]
    for i, row in enumerate(wrong):
        steps = zip(*map(_smooth, row.loss), strict=True)
        dash = ("solid", "dash", "dot")[i % 3]
        add_line(made, x, map(_mean, steps), row.name, i % 7, dash, 1.5)
    names = [row.name for row in wrong if row in m.in_training]
    hidden = [name for name in names if all(name in of_seed for of_seed in unremarkable(m))]
    return Plot(
        made,
        f"Training loss of the {net} with each of {len(wrong)} planted bugs, and with none. Of the "
        f"{len(names)} bugs that change training, {len(hidden)} deviate for every seed no more "
        f"than another seed would: {', '.join(hidden) or 'none'}.",
        f"{net}: mean over {len(m.seeds)} seeds of the loss that the program reports, averaged "
        f"over {STRETCH} steps; band: lowest and highest seed without a bug. A curve ends where "
        "the loss is not finite.",
    )


def _smooth(losses: Losses) -> Losses:
    return [_mean(losses[max(0, i - STRETCH + 1) : i + 1]) for i in range(len(losses))]


def symptom(m: Measured, row: Row) -> str:
    """The bug's effect on the training loss, in words."""
    lost = [losses.index(None) for losses in row.loss if None in losses]
    if lost:
        return f"NaN or ∞ from step {min(lost) + 1} on"
    first, right = (_mean([run[0] for run in r.loss]) for r in (row, m.sound(row.net)))
    if right is not None and abs(first - right) > 1:
        return f"starts at {first:.2f} instead of {right:.2f}"
    words, blank = _change(m, row, "end"), math.log(m.classes)
    stays = max(abs(end - blank) for end in row.end) < 0.05
    return f"ends at ln {m.classes} = {blank:.2f}" if stays and "by" in words else words


def _change(m: Measured, row: Row, mark: str) -> str:
    difference, apart = _mean(change(m, row, mark)), scatter(m, row.net, mark)
    if difference is None or apart is None:
        return "NaN or ∞"
    if abs(difference) <= apart:
        return f"as before ({round(difference, 2) + 0:+.2f})".replace("-", "−")
    return f"{'higher' if difference > 0 else 'lower'} by {abs(difference):.2f}"


def _table(m: Measured) -> Table:
    return Table(
        ["bug", "training loss", "held-out loss", "looks sound", "found by"],
        [_cells(m, row) for row in m.rows],
        f"Losses in nats after {m.steps} steps of {BATCH} images, mean over {len(m.seeds)} seeds; "
        f"held out: {m.held_out_images} images in evaluation mode. “As before”: differs from the "
        "sound net's, for the same seed, by no more than the sound net's seeds differ. Looks "
        f"sound: number of seeds for which this is true of the curve's first {STRETCH} steps, its "
        f"last {STRETCH} and the held-out loss; “–”: the bug does not change training. Found by: "
        f"the checks of sanity=true that fail ({_seeds(m)}; all {len(m.seeds)} without a bug).",
    )


def _cells(m: Measured, row: Row) -> list[str]:
    failed = [name for name in m.checks if any(name in of_seed for of_seed in row.failed)]
    checks = ", ".join(failed) or "none"
    if row.name == SOUND:
        ends = [_mean(losses) for losses in (row.end, row.held_out)]
        end, held_out = ("NaN or ∞" if value is None else f"{value:.2f}" for value in ends)
        return [f"none, {row.net}", f"ends at {end}", held_out, "", checks]
    alike = sum(row.name in names for names in unremarkable(m))
    looks_sound = f"{alike} of {len(m.seeds)}" if row in m.in_training else "–"
    return [row.name, symptom(m, row), _change(m, row, "held_out"), looks_sound, checks]
