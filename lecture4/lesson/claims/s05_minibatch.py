"""Minibatches: unbiased gradients, their spread of 1/√N, and the effect on training."""

import itertools
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from lecture4.byhand import functional as F
from lecture4.byhand.optim import SGD
from lecture4.data.randomness import generator
from lecture4.lesson.lab import Finding, Item, Lab, Plot, Table, ratio
from lecture4.lesson.lab.plots import add_curves, lines, panels
from lecture4.models import SoftmaxClassifier
from lecture4.training.datamodule import DataModule

TITLE = "Minibatches"
QUOTE = ["SGD: Full sum is expensive. Common minibatch: 32,64,128"]
TEXT = (
    "At one W, of a softmax classifier after one epoch, gradients of many minibatches are "
    "compared with the gradient of all images: their mean should be the full gradient, and their "
    "spread around it should fall as 1/√N. Then the classifier is trained with several batch sizes "
    "and with the full batch, each at its best learning rate, for equally many epochs. See how "
    "many images minibatches need to reach the full batch's final loss."
)
FORMULAS = [
    r"g_N = \frac{1}{N} \sum_{i=1}^{N} \nabla_W L_i(x_i, y_i, W)",
    r"\mathbb{E}[g_N] = \nabla_W L, \quad "
    r"\sqrt{\mathbb{E} \|g_N - \nabla_W L\|^2} = \frac{\sigma}{\sqrt{N}}",
    r"\text{without replacement: } \frac{\sigma}{\sqrt{N}} \sqrt{\frac{n - N}{n - 1}}",
]
CODE = [SGD, DataModule, SoftmaxClassifier, F.cross_entropy]
LAWS = {"with": "1/√N", "without": "1/√N · √((n − N)/(n − 1))"}  # how a batch is drawn
UNBIASED = 128  # the N whose gradients are averaged
RATE = 0.012  # tried first; then doubled or halved while the loss falls
MOST_RATES = 8


@dataclass
class Gradients:
    """Gradients g_N of minibatches and ∇L of n images, at the W of one epoch with one seed."""

    n: int
    norm: float  # ‖∇L‖
    sigma: float  # spread of one image's gradient
    spread: dict[str, dict[int, float]]  # how drawn -> N -> √E‖g_N − ∇L‖²
    distance: dict[int, float]  # m = 1, 2, 4, … -> of the mean of m gradients from ∇L

    def predicted(self, size: int, how: str) -> float:
        """Spread: σ/√N, times √((n − N)/(n − 1)) if drawn without replacement."""
        shrunk = (self.n - size) / (self.n - 1) if how == "without" else 1
        return self.sigma * math.sqrt((1 / size) * shrunk)

    def unbiased(self, m: int) -> float:
        """Distance that is expected of the mean of m gradients."""
        return self.predicted(UNBIASED, "without") / math.sqrt(m)

    def level(self, how: str) -> float:
        """Measured over predicted spread, geometric mean over N."""
        measured = self.spread[how].items()
        return statistics.geometric_mean(s / self.predicted(size, how) for size, s in measured)

    def slope(self) -> float:
        """Slope of log spread against log N, drawn with replacement, by least squares."""
        points = [(math.log(size), math.log(s)) for size, s in self.spread["with"].items()]
        return statistics.linear_regression(*zip(*points, strict=True)).slope


@dataclass
class Training:
    """Trainings with batches of ``size``, at the best of the rates ``tried``, sorted."""

    size: int
    rate: float
    tried: list[float]
    losses: list[list[float]]  # before and after each epoch, for each seed; constant if it diverged
    seconds: float  # of an epoch, the median over all rates and seeds


@dataclass
class Measured:
    """Gradients for each seed; trainings by name, from the smallest N to the full batch."""

    images: int
    gradients: list[Gradients]
    epochs: int
    training: dict[str, Training]

    def against_full(self, run: Training) -> tuple[list[float], list[float]]:
        """Final loss minus the full batch's, and epochs until the full batch's, for each seed."""
        *_, full = self.training.values()
        pairs = [(own, other[-1]) for own, other in zip(run.losses, full.losses, strict=True)]
        return [own[-1] - goal for own, goal in pairs], [epochs_to(*pair) for pair in pairs]


def measure(lab: Lab) -> Measured:
    """Draw minibatch gradients at fixed weights; then train with several batch sizes."""
    n = lab.pick(4096, 8192)
    x, y = examples(lab, n)
    lab.note("minibatch gradients at fixed W")
    drawn = [gradients(x, y, seed, *lab.pick((4, 512), (16, 2048))) for seed in lab.seeds(5)]
    epochs, training = lab.pick(5, 15), {}
    for size in lab.pick([32, 64, 128, 512, n], [32, 64, 128, 512, 2048, n]):
        name = f"full, {n}" if size == n else f"N = {size}"
        lab.note(f"softmax classifier, {name}, by several rates")
        training[name] = train(x, y, size, epochs, lab.seeds(3))
    return Measured(n, drawn, epochs, training)


def examples(lab: Lab, n: int) -> tuple[Tensor, Tensor]:
    """n training images, flattened and with a 1 for the bias, (n, D + 1); one-hot labels (n, K)."""
    classifier, data = lab.assemble("model=softmax")
    index = data.sample(n, lab.seed)
    x = classifier.preprocess(data.dataset.train_inputs[index]).flatten(1)
    y = torch.nn.functional.one_hot(data.dataset.train_labels[index], len(classifier.class_names))
    return torch.cat([x, torch.ones(n, 1)], 1), y.to(x.dtype)


def gradient(weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """∂L/∂W of s = W x, the mean over the images: (1/N) Σᵢ (pᵢ − yᵢ) xᵢᵀ."""
    return (F.softmax(x @ weight.T, 1) - y).T @ x / len(x)  # (K, D + 1)


def descend(
    x: Tensor, y: Tensor, size: int, rate: float, epochs: int, seed: int
) -> tuple[Tensor, list[float], list[float]]:
    """W ← W − η ∂L/∂W; returns W, the loss before and after each epoch, seconds per epoch."""
    draw = generator(seed)
    weight = 1e-3 * torch.randn(y.shape[1], x.shape[1], generator=draw)
    losses, seconds = [F.cross_entropy(x @ weight.T, y).item()], []
    for _ in range(epochs):
        start = time.perf_counter()
        order = torch.randperm(len(x), generator=draw)
        for rows in order.split(size) if size < len(x) else [slice(None)]:
            weight -= rate * gradient(weight, x[rows], y[rows])
        seconds.append(time.perf_counter() - start)
        losses.append(F.cross_entropy(x @ weight.T, y).item())
    return weight, losses, seconds


def gradients(x: Tensor, y: Tensor, seed: int, passes: int, most: int) -> Gradients:
    """Train for an epoch; draw ``passes`` epochs of minibatches; average ``most`` gradients."""
    weight, _, _ = descend(x, y, UNBIASED, 0.006, 1, seed)
    n, draw = len(x), generator(seed, 1)
    full, error = gradient(weight, x, y), F.softmax(x @ weight.T, 1) - y
    # An image's gradient is (p − y) xᵀ, whose norm is ‖p − y‖ ‖x‖.
    square = (error.square().sum(1).double() * x.square().sum(1)).mean().item()
    orders = {
        "with": [torch.randint(n, (n,), generator=draw) for _ in range(passes)],
        "without": [torch.randperm(n, generator=draw) for _ in range(passes)],
    }
    mean, distance = torch.zeros_like(full), {}
    for m in range(1, most + 1):
        batch = torch.randperm(n, generator=draw)[:UNBIASED]
        mean += (gradient(weight, x[batch], y[batch]) - mean) / m
        if m & (m - 1) == 0:  # 1, 2, 4, …
            distance[m] = (mean - full).norm().item()
    return Gradients(
        n,
        norm=full.norm().item(),
        sigma=math.sqrt(square - full.square().sum().item()),
        spread={how: spread(x, error, full, drawn) for how, drawn in orders.items()},
        distance=distance,
    )


def spread(x: Tensor, error: Tensor, full: Tensor, orders: list[Tensor]) -> dict[int, float]:
    """√E‖g_N − ∇L‖² for N = 32, 64, …: two consecutive batches of N make one of 2N."""
    squares: dict[int, list[Tensor]] = {}
    for order in orders:
        size, rows = 32, order.view(-1, 32)
        g = error[rows].transpose(1, 2) @ x[rows] / size - full  # (n/32, K, D + 1)
        while len(g) > 1:
            squares.setdefault(size, []).append(g.square().sum((1, 2)))
            g, size = (g[::2] + g[1::2]) / 2, 2 * size
    return {size: torch.cat(values).mean().sqrt().item() for size, values in squares.items()}


def train(x: Tensor, y: Tensor, size: int, epochs: int, seeds: list[int]) -> Training:
    """Train with one batch size, at the rate of the lowest final loss, mean over the seeds.

    A single seed would not do: with a rate so high that the loss jumps, it may be lucky.
    """
    runs, final, rate = {}, {}, RATE
    while rate:
        runs[rate] = [descend(x, y, size, rate, epochs, seed)[1:] for seed in seeds]
        loss = fmean(losses[-1] for losses, _ in runs[rate])
        final[rate] = loss if math.isfinite(loss) else math.inf
        rate = next_rate(final)
    best = min(final, key=final.get)
    losses = [run if math.isfinite(run[-1]) else run[:1] * len(run) for run, _ in runs[best]]
    seconds = statistics.median(s for tried in runs.values() for _, run in tried for s in run)
    return Training(size, best, sorted(runs), losses, seconds)


def next_rate(final: dict[float, float]) -> float | None:
    """The next rate RATE · 2ᵏ to try, given final losses: down, then up, until the loss rises."""
    best, low, high = min(final, key=final.get), min(final), max(final)
    if len(final) == MOST_RATES:
        return None
    if best == low or math.isinf(final[best]):  # if all diverge, a lower rate may not
        return low / 2
    return 2 * best if best == high else None


def epochs_to(losses: list[float], goal: float) -> float:
    """Epochs until a loss reaches the goal, interpolated; one more than there are if it does not.

    A loss that ends no lower than it started never reaches a goal.
    """
    if losses[-1] >= losses[0]:
        return len(losses)
    for epoch, (before, after) in enumerate(itertools.pairwise(losses)):
        if after <= goal:
            return epoch + (before - goal) / (before - after) if before > goal else epoch
    return len(losses)


def judge(m: Measured) -> Iterator[Finding]:
    """Gradients are compared with statistics' prediction, trainings with the full batch's."""
    most = max(m.gradients[0].distance)
    yield ratio(
        "unbiased",
        f"mean of {most} minibatch gradients: distance from the full gradient, in standard errors",
        [g.distance[most] / g.unbiased(most) for g in m.gradients],
        at_most=2,
        why="chance gives about 1; a bias would grow with the number of gradients",
        definition=f"N = {UNBIASED}; the standard error is σ/√N · √((n − N)/(n − 1)) / √{most}.",
    )
    yield Finding(
        "slope",
        "slope of log spread against log N, drawn with replacement",
        [g.slope() for g in m.gradients],
        at_least=-0.55,
        at_most=-0.45,
        why="1/√N has −0.5; a tenth of it is allowed",
    )
    for how, law in LAWS.items():
        yield ratio(
            f"{how} replacement",
            f"measured over predicted spread, drawn {how} replacement",
            [g.level(how) for g in m.gradients],
            at_least=0.9,
            at_most=1.1,
            why="a tenth either way is allowed",
            definition=f"Predicted: σ · {law}, n = {m.images}. Geometric mean over N.",
        )
    for size in (32, 64, 128):
        less, epochs = m.against_full(m.training[f"N = {size}"])
        yield Finding(
            f"loss of {size}",
            f"training loss after {m.epochs} epochs, N = {size} minus full batch",
            less,
            at_most=0,
            why="equally many images, and more steps",
            unit="nats",
        )
        yield ratio(
            f"images of {size}",
            f"images that N = {size} needs for the full batch's loss, over the full batch's",
            [epoch / m.epochs for epoch in epochs],
            at_most=0.5,
            why="SGD should save a factor of 2",
            definition="Images until the full batch's final loss, over all that it has seen.",
        )


def draw(m: Measured) -> Iterator[Item]:
    """The spread against N, the mean of many gradients, the loss against epochs and seconds."""
    yield _spread(m)
    yield _mean(m)
    yield _race(m)
    yield _table(m)


def _spread(m: Measured) -> Plot:
    first, sizes = m.gradients[0], list(m.gradients[0].spread["with"])
    measured = {
        f"drawn {how} replacement": [
            [s / g.sigma for s in g.spread[how].values()] for g in m.gradients
        ]
        for how in LAWS
    }
    laws = {
        law: [[first.predicted(n, how) / first.sigma for n in sizes]] for how, law in LAWS.items()
    }
    plot = lines(
        sizes,
        measured | laws,
        x="N, images in a batch",
        y="spread / spread of one image",
        log="xy",
        digits=3,
        caption=f"Root mean square distance of a minibatch gradient from the gradient of n = "
        f"{m.images} images; mean of {len(m.gradients)} seeds. By 1/√N, halving it takes four "
        "times the images. An epoch draws without replacement, and at N = n the spread is 0.",
    )
    plot.figure.update_traces(line_dash="dash", mode="lines", selector=lambda t: t.name in laws)
    plot.figure.update_yaxes(dtick="D2")  # ticks at 2 and 5 between powers of ten
    plot.figure.update_xaxes(tickvals=sizes, tickangle=0, ticktext=[str(size) for size in sizes])
    return plot


def _mean(m: Measured) -> Plot:
    averaged = list(m.gradients[0].distance)
    plot = lines(
        averaged,
        {
            "measured": [[d / g.norm for d in g.distance.values()] for g in m.gradients],
            "if unbiased": [[g.unbiased(n) / g.norm for n in averaged] for g in m.gradients],
        },
        x="minibatch gradients averaged",
        y="distance / ‖∇L‖",
        log="xy",
        digits=3,
        caption=f"The mean of independent minibatch gradients (N = {UNBIASED}) should approach the "
        "full gradient along the dashed line; a bias would bend the curve to a floor. Mean of "
        f"{len(m.gradients)} seeds, band from lowest to highest.",
    )
    plot.figure.update_traces(line_dash="dash", mode="lines", selector={"name": "if unbiased"})
    plot.figure.update_xaxes(dtick=1)
    plot.figure.update_yaxes(dtick="D2")
    return plot


def _race(m: Measured) -> Plot:
    drawn = panels(2, 1, height=620, vertical_spacing=0.16)
    epochs = range(m.epochs + 1)
    for colour, (name, run) in enumerate(m.training.items()):
        seconds = [epoch * run.seconds for epoch in epochs]
        add_curves(drawn, epochs, run.losses, name, colour, row=1, col=1)
        add_curves(drawn, seconds, run.losses, name, colour, row=2, col=1, showlegend=False)
    drawn.update_xaxes(title="epochs", row=1, col=1)
    drawn.update_xaxes(title="seconds, as measured here", row=2, col=1)
    drawn.update_yaxes(title="training loss")
    return Plot(
        drawn,
        alt="Training loss against epochs and seconds; the table has its final values.",
        caption="The full batch takes one step in an epoch. Mean over the seeds, band from lowest "
        "to highest. Seconds are the median epoch's on this machine.",
    )


def _table(m: Measured) -> Table:
    return Table(
        ["batch", "steps in an epoch", "η", "tried", "ms an epoch", "final loss", "ms to full's"],
        [
            [
                name,
                m.images // run.size,
                f"{run.rate:g}" + " *" * (run.rate in (run.tried[0], run.tried[-1])),
                f"{run.tried[0]:g}–{run.tried[-1]:g}",
                f"{1000 * run.seconds:.0f}",
                f"{fmean(losses[-1] for losses in run.losses):.3f}",
                f"{1000 * run.seconds * fmean(m.against_full(run)[1]):.0f}",
            ]
            for name, run in m.training.items()
        ],
        f"Loss after {m.epochs} epochs, and the time to reach the full batch's final loss. η is "
        "the best of the rates tried, each twice the one before (*: the smallest or largest, so a "
        "better one may lie beyond). Times depend on the machine, so no finding uses them.",
    )
