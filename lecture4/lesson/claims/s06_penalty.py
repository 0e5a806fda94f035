"""Regularisation: the effect of a penalty λ R(W) on the weights and on accuracy."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lecture4.data.randomness import generator
from lecture4.lesson.lab import (
    Finding,
    Item,
    Lab,
    Published,
    Table,
    accuracy,
    descend,
    lines,
    percent,
)
from lecture4.lesson.lab.finding import learned, paired, resolution
from lecture4.training.classifier import Classifier
from lecture4.training.parameter_groups import weights

TITLE = "Regularisation"
QUOTE = [
    r"$$\Delta_w L(W) = \frac{1}{N} \sum_{i=1}^N \delta_w L_i(x_i, y_i, W) "
    r"+ \lambda \Delta_w R(W)$$"
]
TEXT = (
    "The lecture adds λ R(W) to the loss and says no more about it. Here a softmax classifier "
    "learns from so few images that it should overfit, with R(W) = Σ w² and λ from 0 to too large. "
    "Each λ gets the same number of epochs, and the final W are compared, because stopping early "
    "would be another regularisation. A larger λ should make ‖W‖ smaller and bring training and "
    "validation accuracy together; whether any λ also improves the test accuracy is another "
    "question, which the last finding answers."
)
FORMULAS = [
    r"L(W) = \frac{1}{N} \sum_{i=1}^{N} L_i(x_i, y_i, W) + \lambda R(W)",
    r"R(W) = \sum_{k,d} w_{kd}^2, \quad \nabla_W R(W) = 2 W",
]
CODE = [Classifier.objective, weights]
STRENGTHS = [0.0, 0.1, 0.3, 1.0, 10.0]
BATCH = 128
TOO_LARGE = 1e6  # ‖W‖ of a training that diverged


@dataclass
class Outcome:
    """‖W‖ and accuracies of the final W; if it diverged, ``TOO_LARGE`` and chance."""

    strength: float
    norm: float
    train: float
    val: float
    test: float


@dataclass
class Measured:
    """A training for each seed and each λ, from 0 to the largest."""

    seeds: list[int]
    epochs: int
    images: int
    validated: int
    tested: int
    chance: float
    runs: list[list[Outcome]]

    def all(self, name: str) -> list[list[float]]:
        """An attribute of each outcome, a row for each seed."""
        return [[getattr(run, name) for run in row] for row in self.runs]

    def chosen(self) -> list[Outcome]:
        """Each seed's run with a penalty that has the best validation accuracy."""
        return [max(row[1:], key=lambda run: run.val) for row in self.runs]

    def gain(self) -> list[float]:
        """Test accuracy of each seed's chosen penalty, minus no penalty, in points."""
        return paired([run.test for run in self.chosen()], [row[0].test for row in self.runs])


def measure(lab: Lab) -> Measured:
    """Train a softmax classifier on few images with penalties from none to too strong."""
    images = min(lab.pick(2_000, 5_000), len(lab.dataset.train_labels) // 2)
    strengths = lab.pick(STRENGTHS, sorted([*STRENGTHS, 3.0]))
    seeds, epochs, runs = lab.seeds(lab.pick(4, 5)), lab.pick(15, 20), []
    for seed in seeds:
        lab.note(f"softmax classifier on {images} images, {len(strengths)} λ, seed={seed}")
        train, val, test = parts = examples(lab, images, seed)
        runs.append([])
        for strength in strengths:
            words = ["penalty=l2", f"penalty.strength={strength:g}"] if strength else []
            classifier, _ = lab.assemble("model=softmax", *words, seed=seed)
            fit(classifier, *train, epochs, seed)
            runs[-1].append(outcome(classifier, strength, parts))
    chance = 1 / len(lab.dataset.class_names)
    return Measured(seeds, epochs, images, len(val[1]), len(test[1]), chance, runs)


def examples(lab: Lab, images: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Inputs and labels: some of the training split, all of the validation split and test set."""
    classifier, data = lab.assemble("model=softmax", seed=seed)
    train, val, d = data.sample(images, seed, 1), data.val_index, data.dataset
    return [
        (classifier.preprocess(d.train_inputs[train]), d.train_labels[train]),
        (classifier.preprocess(d.train_inputs[val]), d.train_labels[val]),
        (classifier.preprocess(d.test_inputs), d.test_labels),
    ]


def fit(classifier: Classifier, x: Tensor, y: Tensor, epochs: int, seed: int) -> None:
    """Train with the classifier's own objective, optimizer and schedule, without augmentation."""
    size, draw = min(BATCH, len(y)), generator(seed)
    steps = len(y) // size  # of an epoch; an incomplete batch is left out
    orders = (torch.randperm(len(y), generator=draw) for _ in range(epochs))
    batches = ((x[rows], y[rows]) for order in orders for rows in order.split(size)[:steps])
    optimizer = classifier.make_optimizer(classifier.model)
    schedule = classifier.schedule(optimizer, epochs * steps)
    for _ in descend(classifier.model, batches, optimizer, classifier.objective, schedule):
        pass


def outcome(classifier: Classifier, strength: float, parts: list[tuple[Tensor, Tensor]]) -> Outcome:
    """‖W‖ and the accuracy on each part of the data."""
    norm = torch.cat([w.detach().flatten() for w in weights(classifier.model)]).norm().item()
    if not norm < TOO_LARGE:  # NaN, too
        return Outcome(strength, TOO_LARGE, *[1 / len(classifier.class_names)] * len(parts))
    return Outcome(strength, norm, *(accuracy(classifier.model, *part) for part in parts))


def judge(m: Measured) -> Iterator[Finding]:
    """Is W smaller, is the gap smaller, and does the test accuracy gain?"""
    largest = f"λ = {m.runs[0][-1].strength:g}"
    gaps = [paired(*rows) for rows in zip(m.all("train"), m.all("val"), strict=True)]
    without, *_, most = zip(*m.all("test"), strict=True)
    chosen = [run.test for run in m.chosen()]
    yield Finding(
        "smaller W",
        "‖W‖ with one λ over ‖W‖ with the next smaller λ, largest such ratio",
        [max(b / a for a, b in pairwise(row)) for row in m.all("norm")],
        at_most=1.0,
        why="every increase of λ makes W smaller",
    )
    yield Finding(
        "overfitting",
        "training accuracy minus validation accuracy without a penalty",
        [gap[0] for gap in gaps],
        at_least=max(1.0, resolution(min(m.images, m.validated))),
        why="more than luck; without a gap there is nothing to halve",
        unit="points",
    )
    yield Finding(
        "smaller gap",
        f"training minus validation accuracy with {largest}, minus half of it without penalty",
        [gap[-1] - gap[0] / 2 for gap in gaps],
        at_most=0.0,
        why="the gap is at least halved",
        unit="points",
    )
    yield Finding(
        "too much hurts",
        f"test accuracy with {largest}, minus test accuracy without a penalty",
        paired(most, without),
        at_most=-max(1.0, resolution(m.tested)),
        why=f"more than luck on {m.tested:,} test images, and at least 1 point",
        unit="points",
    )
    yield learned("the chosen λ > 0", chosen, m.chance, m.tested, least=1.0)
    yield Finding(
        "gain",
        "test accuracy of the chosen λ > 0, minus no penalty",
        m.gain(),
        at_least=0.0,
        why="a well-chosen penalty should not hurt",
        unit="points",
        definition="Chosen for each seed by validation accuracy.",
    )


def published(m: Measured) -> Iterator[Published]:
    """Weight decay, which subtracts 2ηλW as this penalty does, on MLPs."""
    for theirs, net in (0.96, "three layers of 512"), (-0.12, "one layer of 512"):
        yield Published(
            f"test accuracy with a penalty, minus none (theirs: MLP of {net})",
            theirs=theirs,
            ours=m.gain(),
            source="Zhang et al. 2017",
            differs="Theirs: 50,000 images; so small a difference may be luck on 10,000 test "
            f"images. Ours: a softmax classifier, {m.images:,} images, λ chosen by validation.",
        )


def draw(m: Measured) -> Iterator[Item]:
    """‖W‖ and accuracies against λ; the λ that validation chooses."""
    strengths = [f"{run.strength:g}" for run in m.runs[0]]
    seen = {"training": "train", "validation": "val", "test": "test"}
    norms = [[n if n < TOO_LARGE else math.nan for n in row] for row in m.all("norm")]
    size = lines(
        strengths,
        {"‖W‖": norms},
        x="λ",
        y="‖W‖",
        digits=2,
        height=300,
        caption=f"Of the final W after {m.epochs} epochs on {m.images:,} images, without trainings "
        f"that diverged. Mean of {len(m.seeds)} seeds, band from lowest to highest.",
    )
    accuracies = lines(
        strengths,
        {f"{name} images": percent(m.all(part)) for name, part in seen.items()},
        x="λ",
        y="accuracy (%)",
        chance=m.chance,
        caption="Training minus validation accuracy is overfitting.",
    )
    for plot in size, accuracies:
        plot.figure.update_xaxes(type="category")
        plot.figure.update_yaxes(rangemode="tozero")
        yield plot
    yield _table(m)


def _table(m: Measured) -> Table:
    rows = [
        [
            seed,
            f"{chosen.strength:g}",
            *(f"{100 * run.test:.1f}" for run in (chosen, none)),
            f"{100 * (chosen.test - none.test):+.1f}".replace("-", "−"),
        ]
        for seed, chosen, (none, *_) in zip(m.seeds, m.chosen(), m.runs, strict=True)
    ]
    strengths = ", ".join(f"{run.strength:g}" for run in m.runs[0][1:])
    return Table(
        ["seed", "chosen λ", "test accuracy (%)", "… with λ = 0", "gain (points)"],
        rows,
        f"The benefit of λ, chosen from {strengths} by validation accuracy and evaluated on "
        f"{m.tested:,} test images.",
    )
