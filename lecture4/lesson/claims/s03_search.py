"""Random search, or follow the slope: four ways to train W at the same cost."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from lecture4.byhand import functional as F
from lecture4.byhand.optim import SGD, RandomLocalSearch, RandomSearch
from lecture4.data.randomness import generator
from lecture4.lesson.lab import (
    Finding,
    Item,
    Lab,
    Published,
    Table,
    Widget,
    accuracy,
    better,
    lines,
    mean_curve,
    paired,
    percent,
    spread,
)

TITLE = "Random search, or follow the slope"
QUOTE = ["Random search, or follow the slope."]
TEXT = (
    "Four ways to find the W of one softmax classifier, from the same start and with the same "
    "examples: draw a new W and keep the best (random search); take a random step from the best "
    "(random local search); follow the gradient of all examples (gradient descent), or of 64 at a "
    "time (minibatch SGD). At each point of the axis all have used the same number of example "
    "evaluations, and each has the best of three to five step sizes. See whether the curves "
    "separate, and how early."
)
FORMULAS = [
    r"W^{\tau+1} = W^\tau - \eta \nabla L(W^\tau)",
    r"W^{\tau+1} = W^\tau + \delta \ \text{ if }\ L(W^\tau + \delta) < L(W^\tau)",
    r"\delta_{kd} \sim N(0, \sigma^2)",
]
# Optimizer, batch size (None: all examples), and step sizes to choose from.
METHODS = {
    "random search": (RandomSearch, None, (1e-3, 3e-3, 1e-2)),
    "random local search": (RandomLocalSearch, 128, (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
    "gradient descent": (SGD, None, (3e-3, 1e-2, 3e-2, 1e-1)),
    "minibatch SGD": (SGD, 64, (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
}
FORWARD, BACKWARD = 1, 2  # cost of a pass of one example, in example evaluations
MARKS = 25  # points of a curve
Examples = tuple[torch.Tensor, torch.Tensor]  # inputs (N, C, H, W), labels (N,)


def cost(name: str, examples: int) -> tuple[int, int]:
    """Cost before the first update, and of each update, in example evaluations.

    A forward pass of one example costs 1, a backward pass 2: it has two matrix products, with the
    weights and with the inputs, where the forward pass has one. Both searches compare their
    current W with a candidate. If they use all examples, the loss of the current W is known, after
    that of the first.
    """
    kind, size, _ = METHODS[name]
    n = min(size or examples, examples)
    if kind is SGD:
        return 0, (FORWARD + BACKWARD) * n
    return (FORWARD * n, FORWARD * n) if size is None else (0, 2 * FORWARD * n)


CODE = [RandomSearch, RandomLocalSearch, SGD, cost]


@dataclass
class Measured:
    """Four methods, by name."""

    images: int  # to train on
    validation_images: int  # choose the best W
    test_images: int  # give its accuracy
    chance: float
    tried: dict[str, dict[str, float]]  # step size -> validation accuracy, with another seed
    evaluations: list[int]  # at which W was evaluated
    accuracy: dict[str, list[list[float]]]  # at each of these costs, for each seed

    def final(self, name: str) -> list[float]:
        """Test accuracy at the end of the budget, for each seed."""
        return [curve[-1] for curve in self.accuracy[name]]


def measure(lab: Lab) -> Measured:
    """Choose each method's step size with one seed, then race with other seeds."""
    images = min(lab.pick(2_000, 5_000), len(lab.dataset.train_labels) // 2)
    first, budget = images // 10, images * lab.pick(50, 120)
    marks = [round(first * (budget / first) ** (i / (MARKS - 1))) for i in range(MARKS)]
    seed, tried, curves = lab.seed + 1000, {}, {name: [] for name in METHODS}
    given = problem(lab, seed, images)
    judged = replace(given, test=given.validation)
    for name, (_, _, rates) in METHODS.items():
        lab.note(f"step size of {name}")
        tried[name] = {f"{r:g}": race(name, r, judged, marks[::6], seed)[-1] for r in rates}
    for seed in lab.seeds(lab.pick(3, 7)):
        given = problem(lab, seed, images)
        for name, curve in curves.items():
            lab.note(f"{name}, seed={seed}")
            curve.append(race(name, float(best(tried[name])), given, marks, seed))
    return Measured(
        images=images,
        validation_images=len(given.validation[1]),
        test_images=len(given.test[1]),
        chance=1 / len(lab.dataset.class_names),
        tried=tried,
        evaluations=marks,
        accuracy=curves,
    )


@dataclass(frozen=True)
class Problem:
    """An untrained softmax classifier and the examples of one seed."""

    model: nn.Module
    train: Examples
    validation: Examples
    test: Examples


def problem(lab: Lab, seed: int, images: int) -> Problem:
    """The start and the examples of one seed."""
    classifier, data = lab.assemble("model=softmax", "formulas=byhand", seed=seed)
    chosen, judges, d = data.sample(images, seed), data.val_index[:2_000], data.dataset
    return Problem(
        classifier.model,
        (classifier.preprocess(d.train_inputs[chosen]), d.train_labels[chosen]),
        (classifier.preprocess(d.train_inputs[judges]), d.train_labels[judges]),
        (classifier.preprocess(d.test_inputs[:2_000]), d.test_labels[:2_000]),
    )


def best(tried: dict[str, float]) -> str:
    """The step size of highest validation accuracy."""
    return max(tried, key=tried.get)


def race(name: str, rate: float, given: Problem, marks: Sequence[int], seed: int) -> list[float]:
    """Train a copy of the model by one method; its test accuracy at each mark.

    Marks are costs in example evaluations, ascending. At each, validation examples choose the best
    W evaluated so far, and test examples give its accuracy; neither is charged.
    """
    torch.manual_seed(seed)
    model, (kind, size, _) = copy.deepcopy(given.model), METHODS[name]
    optimizer, drawn = kind(model.parameters(), lr=rate), batches(*given.train, size, seed)
    spent, price = cost(name, len(given.train[1]))
    known = F.cross_entropy(model(given.train[0]), given.train[1]) if spent else None
    highest, tested, curve = -1.0, 0.0, []
    for mark in marks:
        while spent + price <= mark:
            known = step(optimizer, model, next(drawn), known)
            spent += price
        if (chosen := accuracy(model, *given.validation)) > highest:
            highest, tested = chosen, accuracy(model, *given.test)
        curve.append(tested)
    return curve


def batches(x: torch.Tensor, y: torch.Tensor, size: int | None, seed: int) -> Iterator[Examples]:
    """All examples, or full batches of them, shuffled in each epoch; endlessly."""
    draw, n = generator(seed), min(size or len(y), len(y))
    while True:
        order = torch.randperm(len(y), generator=draw)[: len(y) // n * n]
        yield from [(x, y)] if size is None else ((x[b], y[b]) for b in order.split(n))


def step(
    optimizer: torch.optim.Optimizer, model: nn.Module, batch: Examples, known: torch.Tensor | None
) -> torch.Tensor | None:
    """One update. A ``known`` loss of W is not evaluated again; that of the next W is returned."""
    losses = []

    def closure() -> torch.Tensor:
        if losses or known is None:
            losses.append(F.cross_entropy(model(batch[0]), batch[1]))
        else:
            losses.append(known)
        if losses[-1].requires_grad:
            optimizer.zero_grad()
            losses[-1].backward()
        return losses[-1]

    optimizer.step(closure)
    return None if known is None else min(losses)


def judge(m: Measured) -> Iterator[Finding]:
    """Does the slope lead to a better W than random search at the same cost?"""
    slopes = [name for name, (kind, _, _) in METHODS.items() if kind is SGD]
    searches = [m.final(name) for name in METHODS if name not in slopes]
    searched = [max(pair) for pair in zip(*searches, strict=True)]
    for name in slopes:
        yield better(name, m.final(name), "the better search", searched, m.test_images, least=5)
    yield Finding(
        "full sum",
        "test accuracy of minibatch SGD, minus gradient descent on all examples",
        paired(m.final("minibatch SGD"), m.final("gradient descent")),
        at_least=0.0,
        why="the full sum is expensive",
        unit="points",
    )
    runs = zip(m.accuracy["minibatch SGD"], searched, strict=True)
    yield Finding(
        "early",
        "share of the budget until minibatch SGD equals the better search's end",
        [reached(curve, goal, m.evaluations) for curve, goal in runs],
        at_most=0.1,
        why="no other cost of a backward pass could reverse a tenth",
    )


def published(m: Measured) -> Iterator[Published]:
    """The two searches at the same cost."""
    yield Published(
        "test accuracy of random local search, minus random search, at equal cost",
        theirs=5.9,
        ours=paired(m.final("random local search"), m.final("random search")),
        reported="21.4 % and 15.5 % after 1,000 evaluations",
        source="CS231n notes, Optimization",
        differs="Theirs: SVM loss, all 50,000 images in each evaluation, one run. Ours: "
        f"cross-entropy, {m.images:,} images, of which local search compares W on 128 at a time.",
    )


def reached(curve: Sequence[float], goal: float, marks: Sequence[int]) -> float:
    """The first mark at which a curve reaches a goal, as a share of the last mark; 1 if never."""
    return next((m for a, m in zip(curve, marks, strict=True) if a >= goal), marks[-1]) / marks[-1]


def draw(m: Measured) -> Iterator[Item]:
    """The race, replayed; its curves with their spread; the step sizes."""
    curves = {name: percent(runs) for name, runs in m.accuracy.items()}
    methods = [{"name": name, "accuracy": mean_curve(runs)} for name, runs in curves.items()]
    yield Widget(
        "race",
        {"evaluations": m.evaluations, "methods": methods, "chance": percent(m.chance)},
        "The race replayed: play it, or drag the number of example evaluations, and see the test "
        "accuracy that each method has reached.",
        "Test accuracy of the W of best validation accuracy so far, mean of the seeds. The axis is "
        "logarithmic: each step to the right costs more than the one before it.",
    )
    yield lines(
        m.evaluations,
        curves,
        x="example evaluations",
        y="test accuracy (%)",
        log="x",
        chance=m.chance,
        caption=f"{m.images:,} training images; {m.validation_images:,} validation images choose "
        f"the best W so far, {m.test_images:,} test images give its accuracy. A backward pass "
        "costs as much as two forward passes: two matrix products instead of one (this model needs "
        "only one, so the slope pays too much rather than too little).",
    )
    yield Table(
        ["method", "batch", "updates", "step size", "step sizes tried", "test accuracy (%)"],
        [_row(m, name) for name in METHODS],
        "Step size: η of the gradient methods, standard deviation of the searches' draws; the best "
        "of those tried by validation accuracy (%), of a seed that does not race (*: the smallest "
        "or largest tried, so a better one may lie beyond). The searches compare a candidate with "
        "W on the same batch. Test accuracy: mean (lowest–highest) of the seeds.",
    )


def _row(m: Measured, name: str) -> list[str | int]:
    tried, (start, price) = m.tried[name], cost(name, m.images)
    rates, chosen = list(tried), best(tried)
    return [
        name,
        METHODS[name][1] or m.images,
        (m.evaluations[-1] - start) // price,
        chosen + "*" * (chosen in (rates[0], rates[-1]) and len(rates) > 1),
        ", ".join(f"{rate}: {percent(value):.1f}" for rate, value in tried.items()),
        spread(percent(m.final(name))),
    ]
