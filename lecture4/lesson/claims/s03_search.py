"""Random search, or follow the slope: four ways to train W at the same cost."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import nn

from lecture4.byhand import functional as F
from lecture4.byhand.optim import SGD, RandomLocalSearch, RandomSearch
from lecture4.data.randomness import generator
from lecture4.lesson.lab.finding import Claim, Finding, paired, resolution
from lecture4.lesson.lab.items import Item, Plot, Table, Widget
from lecture4.lesson.lab.plots import add_chance, add_curves, figure, mean_curve, spread
from lecture4.lesson.lab.trainings import Lab, accuracy

Examples = tuple[torch.Tensor, torch.Tensor]  # inputs (N, C, H, W), labels (N,)

FORWARD, BACKWARD = 1, 2  # cost of a pass of one example, in example evaluations
# Optimizer, batch size (None: all examples), and step sizes to choose from.
METHODS = {
    "random search": (RandomSearch, None, (1e-3, 3e-3, 1e-2)),
    "random local search": (RandomLocalSearch, 128, (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
    "gradient descent": (SGD, None, (3e-3, 1e-2, 3e-2, 1e-1)),
    "minibatch SGD": (SGD, 64, (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
}
SEARCHES = [name for name, (kind, _, _) in METHODS.items() if kind is not SGD]
SLOPES = [name for name, (kind, _, _) in METHODS.items() if kind is SGD]
MARKS = 25  # points of a curve


def measure(lab: Lab) -> dict:
    """Choose each method's step size with one seed, then race with other seeds."""
    images = min(lab.pick(2_000, 5_000), len(lab.dataset.train_labels) // 2)
    first, budget = images // 10, images * lab.pick(50, 120)
    marks = [round(first * (budget / first) ** (i / (MARKS - 1))) for i in range(MARKS)]
    tuning_seed = lab.seed + 1000
    model, examples, validation, _ = _problem(lab, tuning_seed, images)
    sweep, rates = {}, {}
    for name, (_, _, choices) in METHODS.items():
        lab.note(f"step size of {name}")
        sides = examples, validation, validation
        sweep[name] = [
            [rate, race(name, rate, model, *sides, marks[::6], tuning_seed)[-1]] for rate in choices
        ]
        rates[name] = max(sweep[name], key=lambda tried: tried[1])[0]
    seeds = lab.seeds(lab.pick(3, 7))
    reached = {name: [] for name in METHODS}
    for seed in seeds:
        model, *sides = _problem(lab, seed, images)
        for name in METHODS:
            lab.note(f"{name}, seed={seed}")
            reached[name].append(race(name, rates[name], model, *sides, marks, seed))
    return {
        "seeds": seeds,
        "tuning_seed": tuning_seed,
        "images": images,
        "validation_images": len(validation[1]),
        "test_images": len(sides[-1][1]),
        "chance": 1 / len(lab.dataset.class_names),
        "evaluations": marks,
        "sweep": sweep,
        "rates": rates,
        "batches": {name: size or images for name, (_, size, _) in METHODS.items()},
        "updates": {
            name: (budget - first_cost(name, images)) // cost(name, images) for name in METHODS
        },
        "accuracy": reached,
    }


def race(
    name: str,
    rate: float,
    model: nn.Module,
    examples: Examples,
    validation: Examples,
    test: Examples,
    marks: list[int],
    seed: int,
) -> list[float]:
    """Train a copy of the model by one method, and evaluate it at each mark.

    Args:
        name: of the method.
        rate: its step size.
        model: the start.
        examples: to train on.
        validation: examples that choose the best W evaluated so far; they cost nothing.
        test: examples to report the accuracy of; they cost nothing.
        marks: costs in example evaluations, ascending, at which to evaluate.
        seed: of batches and candidates.

    Returns:
        Test accuracy at each mark, of the W of best validation accuracy so far.
    """
    torch.manual_seed(seed)
    model, (x, y) = copy.deepcopy(model), examples
    kind, size, _ = METHODS[name]
    optimizer = kind(model.parameters(), lr=rate)
    price, spent = cost(name, len(y)), first_cost(name, len(y))
    kept = F.cross_entropy(model(x), y) if spent else None  # the loss of the current W
    best, curve = (-1.0, 0.0), []  # validation and test accuracy
    for index in _batches(len(y), size, seed):
        if spent + price > marks[len(curve)]:
            if (chosen := accuracy(model, *validation)) > best[0]:
                best = chosen, accuracy(model, *test)
            curve += [best[1] for mark in marks[len(curve) :] if spent + price > mark]
            if len(curve) == len(marks):
                break
        batch = (x, y) if size is None else (x[index], y[index])
        tried = _step(
            optimizer, lambda batch=batch: F.cross_entropy(model(batch[0]), batch[1]), kept
        )
        kept = None if kept is None else min(tried)
        spent += price
    return curve


def cost(name: str, examples: int) -> int:
    """Cost of one update in example evaluations.

    A forward pass of one example costs 1, a backward pass 2: it has two matrix products, with the
    weights and with the inputs, where the forward pass has one. Both searches compare their
    current W with a candidate; if they use all examples, the loss of the current W is known.
    """
    kind, size, _ = METHODS[name]
    passes = FORWARD + BACKWARD if kind is SGD else FORWARD if size is None else 2 * FORWARD
    return passes * min(size or examples, examples)


def first_cost(name: str, examples: int) -> int:
    """Cost before the first update: a search on all examples evaluates its first W."""
    kind, size, _ = METHODS[name]
    return FORWARD * examples if kind is not SGD and size is None else 0


def _step(
    optimizer: torch.optim.Optimizer, loss: Callable[[], torch.Tensor], kept: torch.Tensor | None
) -> list[torch.Tensor]:
    """One update; returns the losses it evaluated, the first of them ``kept`` if given."""
    tried = []

    def closure() -> torch.Tensor:
        tried.append(loss() if tried or kept is None else kept)
        if tried[-1].requires_grad:
            optimizer.zero_grad()
            tried[-1].backward()
        return tried[-1]

    optimizer.step(closure)
    return tried


def _batches(n: int, size: int | None, seed: int) -> Iterator[torch.Tensor]:
    """Full batches of indices, shuffled in each epoch, endlessly."""
    draw, size = generator(seed), min(size or n, n)
    while True:
        yield from torch.randperm(n, generator=draw)[: n // size * size].split(size)


def _problem(lab: Lab, seed: int, images: int) -> tuple[nn.Module, Examples, Examples, Examples]:
    """An untrained softmax classifier; training, validation and test examples."""
    classifier, data = lab.assemble("model=softmax", "formulas=byhand", seed=seed)
    chosen, judges, d = data.sample(images, seed), data.val_index[:2_000], data.dataset
    return (
        classifier.model,
        (classifier.preprocess(d.train_inputs[chosen]), d.train_labels[chosen]),
        (classifier.preprocess(d.train_inputs[judges]), d.train_labels[judges]),
        (classifier.preprocess(d.test_inputs[:2_000]), d.test_labels[:2_000]),
    )


def judge(m: dict) -> list[Finding]:
    """Does the slope lead to a better W than random search at the same cost?"""
    final = {name: [curve[-1] for curve in m["accuracy"][name]] for name in METHODS}
    searched = [max(pair) for pair in zip(*(final[name] for name in SEARCHES), strict=True)]
    # Five points justify computing a gradient, and are more than luck on so many test images.
    ahead = [
        Finding(
            f"test accuracy of {name} minus the better search's, at the end of the budget",
            paired(final[name], searched),
            at_least=max(5.0, resolution(m["test_images"])),
            unit="points",
        )
        for name in SLOPES
    ]
    return [
        *ahead,
        Finding(
            "full sum is expensive: test accuracy of minibatch SGD minus gradient descent's on all "
            "examples, at the end of the budget",
            paired(final["minibatch SGD"], final["gradient descent"]),
            at_least=0.0,
            unit="points",
        ),
        Finding(
            "share of the budget after which minibatch SGD is as good as the better search at the "
            "end (at most a tenth, which no other cost of a backward pass could reverse)",
            [
                _reached(curve, goal, m["evaluations"])
                for curve, goal in zip(m["accuracy"]["minibatch SGD"], searched, strict=True)
            ],
            at_most=0.1,
        ),
    ]


def draw(m: dict) -> list[Item]:
    """The race, replayed; its curves with their spread; the step sizes."""
    return [_replay(m), _plot(m), _methods(m), _step_sizes(m)]


def _replay(m: dict) -> Widget:
    means = {name: [100 * a for a in mean_curve(m["accuracy"][name])] for name in METHODS}
    return Widget(
        "race",
        {
            "evaluations": m["evaluations"],
            "methods": [{"name": name, "accuracy": means[name]} for name in METHODS],
            "chance": 100 * m["chance"],
        },
        "The race replayed: play it, or drag the number of example evaluations, and see the test "
        "accuracy that each method has reached.",
        f"Mean of {len(m['seeds'])} seeds, test accuracy of the W of best validation accuracy so "
        "far. The axis is logarithmic: each step to the right costs more than the one before it.",
    )


def _plot(m: dict) -> Plot:
    shown = figure("example evaluations", "test accuracy, %", log_x=True)
    shown.update_xaxes(dtick=1)
    for colour, name in enumerate(METHODS):
        percent = [[100 * a for a in curve] for curve in m["accuracy"][name]]
        add_curves(shown, m["evaluations"], percent, name, colour)
    add_chance(shown, 100 * m["chance"])
    return Plot(
        shown,
        f"Test accuracy after {m['evaluations'][-1]:,} example evaluations, in %: "
        + ", ".join(f"{name} {_final(m, name)}" for name in METHODS)
        + f"; chance is {100 * m['chance']:.0f} %.",
        f"Mean and range of {len(m['seeds'])} seeds; {m['images']:,} training images. W is "
        f"evaluated {len(m['evaluations'])} times; {m['validation_images']:,} validation images "
        f"choose the best W so far, {m['test_images']:,} test images give its accuracy. A forward "
        "pass of one example costs 1, a backward pass 2: it has two matrix products where the "
        "forward pass has one (this model needs only one, so the slope pays too much rather than "
        "too little).",
    )


def _methods(m: dict) -> Table:
    return Table(
        ["method", "step size", "batch", "updates", "test accuracy, %"],
        [
            [name, f"{m['rates'][name]:g}", m["batches"][name], m["updates"][name], _final(m, name)]
            for name in METHODS
        ],
        "Step size: η of the gradient methods, standard deviation of the searches' draws. Random "
        "local search compares each candidate with its current W on a new minibatch, random search "
        "on all examples. Accuracy: mean (lowest–highest) of the seeds.",
    )


def _step_sizes(m: dict) -> Table:
    rates = sorted({rate for tried in m["sweep"].values() for rate, _ in tried})
    edge = any(_tried(m, name, rate).endswith("**") for name in METHODS for rate in rates)
    return Table(
        ["step size", *(f"{rate:g}" for rate in rates)],
        [[name, *(_tried(m, name, rate) for rate in rates)] for name in METHODS],
        f"Validation accuracy in %, of seed {m['tuning_seed']}, which does not race. *: the best, "
        "which is used" + ("; **: it is the smallest or largest tried." if edge else "."),
    )


def _final(m: dict, name: str) -> str:
    return spread([100 * curve[-1] for curve in m["accuracy"][name]])


def _tried(m: dict, name: str, rate: float) -> str:
    """Validation accuracy with a step size, if tried; * if it is the best, ** at the edge."""
    accuracies = dict(m["sweep"][name])
    if rate not in accuracies:
        return ""
    at_edge = len(accuracies) > 1 and rate in (min(accuracies), max(accuracies))
    chosen = (" **" if at_edge else " *") if rate == m["rates"][name] else ""
    return f"{100 * accuracies[rate]:.1f}{chosen}"


def _reached(curve: list[float], goal: float, marks: list[int]) -> float:
    """The first mark at which a curve reaches a goal, as a share of the last mark; 1 if never."""
    return next((m for a, m in zip(curve, marks, strict=True) if a >= goal), marks[-1]) / marks[-1]


CLAIM = Claim(
    name="search",
    title="Random search, or follow the slope",
    quote=["Random search, or follow the slope."],
    text="Four ways to find the W of one softmax classifier, from the same start and with the same "
    "examples: draw a new W and keep the best (random search); take a random step from the best "
    "(random local search); follow the gradient of all examples (gradient descent), or of 64 at a "
    "time (minibatch SGD). At each point of the axis all have used the same number of example "
    "evaluations, and each has the best of three to five step sizes. See whether the curves "
    "separate, and how early.",
    formulas=[
        r"W^{\tau+1} = W^\tau - \eta \nabla L(W^\tau)",
        r"W^{\tau+1} = W^\tau + \delta \ \text{ if }\ L(W^\tau + \delta) < L(W^\tau)",
        r"\delta_{kd} \sim N(0, \sigma^2)",
    ],
    code=[RandomSearch, RandomLocalSearch, SGD, cost],
    measure=measure,
    judge=judge,
    draw=draw,
)
