"""Adam against SGD: the range of good learning rates, and the effect of bias correction."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import fmean as mean

import torch

from lecture4.byhand import optim
from lecture4.data.randomness import generator
from lecture4.lesson.exercises.catalogue import planted
from lecture4.lesson.exercises.catalogue.adam import adam_without_bias_correction
from lecture4.lesson.lab import (
    COLOURS,
    Finding,
    Item,
    Lab,
    Plot,
    Published,
    Table,
    Widget,
    accuracy,
    add_chance,
    add_curves,
    descend,
    exact,
    figure,
    learned,
    lines,
    mean_curve,
    paired,
    percent,
    spread,
)
from lecture4.models import MLP

TITLE = "Adam against SGD with Nesterov momentum"
QUOTE = ["Fancier optimizer: Adam."]
TEXT = (
    "The same MLP takes the same number of steps at each of several learning rates, with SGD "
    "(Nesterov momentum) and with Adam. The wider the range of rates that come close to an "
    "optimizer's best, the less its rate needs tuning. Then Adam runs without its bias "
    "correction: at first its averages m and v are too small, √v more so than m, and the steps "
    "are too long. See whether Adam's range is wider, and what the long steps do to the loss."
)
FORMULAS = [
    r"m \leftarrow \beta_1 m + (1-\beta_1)\, g",
    r"v \leftarrow \beta_2 v + (1-\beta_2)\, g^2",
    r"\hat m = \frac{m}{1-\beta_1^t}, \quad \hat v = \frac{v}{1-\beta_2^t}",
    r"w \leftarrow w - \eta \frac{\hat m}{\sqrt{\hat v} + \epsilon}",
    r"\frac{m / \sqrt{v}}{\hat m / \sqrt{\hat v}} = \frac{1-\beta_1^t}{\sqrt{1-\beta_2^t}}",
]
CODE = [optim.Adam, optim.SGD, adam_without_bias_correction.source]
BATCH, HIDDEN = 128, 64
SHARE = 0.9  # of the best rate's gain over chance; a rate that reaches it counts as good
CORRECTION = {"with": nullcontext, "without": partial(planted, adam_without_bias_correction)}
SURFACE = {"curvatures": [1.0, 25.0], "start": [-4.0, 1.5], "steps": 100}


@dataclass
class Sweep:
    """An optimizer at several learning rates; a rate is good from ``floor`` on."""

    title: str
    rates: list[float]
    test: list[list[float]]  # accuracy [seed][rate]
    best: int  # index of the rate of the highest mean validation accuracy
    reached: list[float]  # test accuracy of each seed at the best rate
    good: list[float]  # the rates whose mean test accuracy is good
    widths: list[float]  # decades of good rates for each seed
    at_edge: bool  # a seed's good rates include the lowest or highest, so more may lie beyond


@dataclass
class Measured:
    """``losses`` and ``diverged``: of Adam's first steps at ``rate``, by kind of correction."""

    seeds: list[int]
    steps: int
    test_images: int
    classes: int
    sgd: Sweep
    adam: Sweep
    rate: float
    losses: dict[str, list[list[float]]]
    diverged: dict[str, int]
    betas: list[float]
    ratio: list[float]  # length of each step without correction over that with it


def measure(lab: Lab) -> Measured:
    """Sweep the rate of each optimizer; then Adam's first steps with and without correction."""
    seeds, steps, task = lab.seeds(lab.pick(3, 7)), lab.pick(80, 500), Task(lab)
    ranges = {"sgd": lab.pick((-3.5, 0.0), (-4.0, 0.5)), "adam": lab.pick((-5.0, -1.5), (-5.5, -1))}
    sweeps = {}
    for name, (low, high) in ranges.items():
        lab.note(f"optim={name} at several rates")
        make = lab.assemble("model=mlp", f"optim={name}", "formulas=byhand")[0].optimizer
        rates = [10 ** (low + i / 2) for i in range(round(2 * (high - low)) + 1)]
        sweeps[name] = task.sweep(make, rates, steps, seeds)
    first, rate = lab.pick(60, 100), sweeps["adam"].rates[sweeps["adam"].best]
    losses, diverged, betas = {}, {}, list(make.keywords["betas"])
    for name, plant in CORRECTION.items():
        lab.note(f"the first steps of Adam {name} bias correction")
        with plant():
            runs = [task.train(partial(make, lr=rate), first, seed)[0] for seed in seeds]
        losses[name] = [
            run + [max(math.log(task.classes), *run)] * (first - len(run)) for run in runs
        ]
        diverged[name] = sum(len(run) < first for run in runs)
    tested, ratio = len(task.test[1]), step_ratio(first, betas)
    return Measured(
        seeds, steps, tested, task.classes, *sweeps.values(), rate, losses, diverged, betas, ratio
    )


class Task:
    """The training that every optimizer does: an MLP, standardised images, and their order."""

    def __init__(self, lab: Lab):
        untrained, data = lab.assemble("model=softmax")
        images, held_out = data.dataset, data.val_index[:2000]
        self.preprocess, self.index = untrained.preprocess, data.train_index
        self.inputs, self.labels = images.train_inputs, images.train_labels
        self.shape, self.classes = images.input_shape, len(images.class_names)
        self.val = self.preprocess(self.inputs[held_out]), self.labels[held_out]
        self.test = self.preprocess(images.test_inputs[:5000]), images.test_labels[:5000]

    def train(self, make: Callable, steps: int, seed: int) -> tuple[list[float], MLP]:
        """Loss before each step, fewer than ``steps`` if training diverged, and the model."""
        torch.manual_seed(seed)
        model = MLP(self.shape, self.classes, [HIDDEN])
        drawn = torch.randint(len(self.index), (steps, BATCH), generator=generator(seed))
        batches = ((self.preprocess(self.inputs[i]), self.labels[i]) for i in self.index[drawn])
        loss = torch.nn.functional.cross_entropy
        return list(descend(model, batches, make(model.parameters()), loss)), model

    def accuracies(self, make: Callable, steps: int, seed: int) -> tuple[float, float]:
        """Accuracy on validation and test images; chance if training diverged."""
        losses, model = self.train(make, steps, seed)
        if len(losses) < steps:
            return 1 / self.classes, 1 / self.classes
        return accuracy(model, *self.val), accuracy(model, *self.test)

    def sweep(self, make: Callable, rates: list[float], steps: int, seeds: list[int]) -> Sweep:
        """Train with each rate and seed; choose by validation, judge by the test images."""
        pairs = [[self.accuracies(partial(make, lr=r), steps, s) for r in rates] for s in seeds]
        validation, test = ([[pair[i] for pair in seed] for seed in pairs] for i in (0, 1))
        chance, means, reached = 1 / self.classes, mean_curve(validation), mean_curve(test)
        best, least, k = means.index(max(means)), floor(reached, chance), make.keywords
        title = "Adam" if "betas" in k else f"SGD, momentum {k['momentum']}"
        good = [rate for rate, value in zip(rates, reached, strict=True) if value >= least]
        widths = [width(rates, seed, chance) for seed in test]
        at_edge = any(max(seed[0], seed[-1]) >= floor(seed, chance) for seed in test)
        return Sweep(title, rates, test, best, [seed[best] for seed in test], good, widths, at_edge)


def factor(t: int, betas: Sequence[float]) -> float:
    """By how much Adam's step t is too long without bias correction."""
    return (1 - betas[0] ** t) / math.sqrt(1 - betas[1] ** t)


def step_ratio(steps: int, betas: Sequence[float]) -> list[float]:
    """Length of each step without correction over that with it, same gradients, ε → 0."""
    gradients = torch.randn(steps, 1000, generator=generator(0), dtype=torch.float64)
    lengths = {}
    for name, plant in CORRECTION.items():
        w = torch.nn.Parameter(torch.zeros(1000, dtype=torch.float64))
        places = [w.detach().clone()]
        with plant():
            optimizer = optim.Adam([w], lr=1.0, betas=tuple(betas), eps=1e-30)
            for g in gradients:
                w.grad = g
                optimizer.step()
                places.append(w.detach().clone())
        lengths[name] = torch.stack(places).diff(dim=0).norm(dim=1)
    return (lengths["without"] / lengths["with"]).tolist()


def floor(reached: Sequence[float], chance: float) -> float:
    """Accuracy from which a rate counts as good; infinite if no rate is better than chance."""
    gain = max(reached) - chance
    return chance + SHARE * gain if gain > 1e-9 else math.inf  # more than a mean's rounding error


def width(rates: Sequence[float], accuracy: Sequence[float], chance: float) -> float:
    """Decades of rates with good accuracy, interpolated linearly between those tried."""
    least, total = floor(accuracy, chance), 0.0
    for (x, a), (next_x, b) in pairwise(zip(map(math.log10, rates), accuracy, strict=True)):
        low, high = sorted((a, b))
        share = 1.0 if low >= least else (high - least) / (high - low) if high > least else 0.0
        total += share * (next_x - x)
    return total


def judge(m: Measured) -> Iterator[Finding]:
    """A range of rates that all learn nothing would be wide, so both must learn."""
    adam, sgd = m.adam.reached, m.sgd.reached
    worse, whose = list(map(min, adam, sgd)), "the worse optimizer at its best rate"
    yield learned(whose, worse, 1 / m.classes, m.test_images)
    yield Finding(
        "range of good rates",
        "width of Adam's range of good learning rates, minus SGD's",
        [a - b for a, b in zip(m.adam.widths, m.sgd.widths, strict=True)],
        at_least=math.log10(2),
        unit="decades",
        why="a factor of two; whoever tries rates by doubling would not notice less",
        definition=f"Good: at least {SHARE:.0%} of the best rate's gain over guessing.",
    )
    yield Finding(
        "best accuracy",
        "test accuracy of Adam at its best rate, minus SGD at its own",
        paired(adam, sgd),
        at_least=-1,
        unit="points",
        why="one point less does not matter",
    )
    errors = [abs(r / factor(t, m.betas) - 1) for t, r in enumerate(m.ratio, 1)]
    yield exact(
        "length of uncorrected steps",
        "step lengths without bias correction: largest relative error of (1 − β₁ᵗ)/√(1 − β₂ᵗ)",
        max(errors),
        at_most=1e-6,
        definition=f"Steps 1 to {len(errors)}, over the steps with correction, same gradients.",
    )
    yield Finding(
        "loss of uncorrected steps",
        f"mean loss of the first {len(m.ratio)} steps without bias correction, minus with it",
        [mean(b) - mean(a) for a, b in zip(*m.losses.values(), strict=True)],
        at_least=0.1,
        unit="nats",
        why="e^−0.1 ≈ 0.9: a tenth less probability for the right class",
        definition="At Adam's best rate; once a run diverged, its worst loss or ln K counts.",
    )


def published(m: Measured) -> Iterator[Published]:
    """An adaptive method against SGD, each at its best rate."""
    yield Published(
        "test accuracy of an adaptive method, minus SGD, each at its best rate",
        theirs=-1.95,
        ours=paired(m.adam.reached, m.sgd.reached),
        reported="errors of 9.60 ± 0.19 % (best adaptive method) and 7.65 ± 0.14 %",
        source="Wilson et al. 2017",
        differs="Theirs: a deep ConvNet, trained to convergence. Ours: Adam and Nesterov momentum, "
        f"an MLP of {HIDDEN} hidden units, {m.steps} steps.",
    )


def draw(m: Measured) -> Iterator[Item]:
    """The sweep, its summary, the first steps, and the widget."""
    yield _sweep(m)
    yield _table(m)
    yield _lengths(m)
    yield _losses(m)
    yield _widget()


def _sweep(m: Measured) -> Plot:
    made = figure("learning rate η", "test accuracy (%)", log_x=True, height=420)
    made.update_xaxes(dtick=1, exponentformat="power")
    for i, sweep in enumerate((m.sgd, m.adam)):
        add_curves(made, sweep.rates, percent(sweep.test), sweep.title, i, mode="lines+markers")
        if good := sweep.good:
            made.add_vrect(good[0], good[-1], fillcolor=COLOURS[i], opacity=0.12, line_width=0)
    add_chance(made, 100 / m.classes)
    wide = ", ".join(f"{s.title} over {mean(s.widths):.2f} decades" for s in (m.sgd, m.adam))
    return Plot(
        made,
        f"Test accuracy against learning rate; good: {wide}.",
        f"MLP with {HIDDEN} hidden units after {m.steps} steps of {BATCH} images, n = "
        f"{len(m.seeds)}. Shaded: at least {SHARE:.0%} of the best mean's gain over guessing.",
    )


def _table(m: Measured) -> Table:
    return Table(
        ["optimizer", "best η", "test accuracy there", "decades of good rates"],
        [
            [
                s.title,
                f"{s.rates[s.best]:.2g}" + "*" * (s.best in (0, len(s.rates) - 1)),
                f"{spread(percent(s.reached))} %",
                spread(s.widths, 2) + "*" * s.at_edge,
            ]
            for s in (m.sgd, m.adam)
        ],
        f"Mean (lowest–highest) of {len(m.seeds)} seeds on {m.test_images:,} test images; the "
        "best rate is chosen by validation accuracy. *: includes the lowest or highest rate tried, "
        "so better or more rates may lie beyond.",
    )


def _lengths(m: Measured) -> Plot:
    law = [factor(t, m.betas) for t in range(1, len(m.ratio) + 1)]
    plot = lines(
        range(1, len(law) + 1),
        {"measured": [m.ratio], "(1 − β₁ᵗ)/√(1 − β₂ᵗ)": [law]},
        x="step t",
        y="times as long without correction",
        digits=2,
        caption="Length of each step without bias correction over that with it, same gradients.",
    )
    plot.figure.data[1].update(mode="lines", line_dash="dash")
    return plot


def _losses(m: Measured) -> Plot:
    diverged = ", ".join(f"{n} {name} correction" for name, n in m.diverged.items())
    return lines(
        range(1, len(m.ratio) + 1),
        {f"{name} correction": runs for name, runs in m.losses.items()},
        x="step t",
        y="training loss (nats)",
        digits=2,
        caption=f"Adam's first steps with and without bias correction at η = {m.rate:.2g}, the "
        f"best with it, n = {len(m.seeds)}. Diverged: {diverged}.",
    )


def _widget() -> Widget:
    return Widget(
        "steps",
        SURFACE,
        "Steps of SGD or Adam in a long valley, drawn over its contour lines; sliders set the "
        "learning rate, momentum, β₁, β₂, the number of steps and the direction of the valley.",
        f"The valley is curved {SURFACE['curvatures'][1]:g} times as much across as along. Raise η "
        "until SGD jumps from wall to wall; add momentum; try Adam with and without bias "
        "correction; turn the valley: Adam scales each coordinate separately, which helps while "
        "the valley is parallel to an axis.",
    )
