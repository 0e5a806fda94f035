"""Random search, or follow the slope: four ways to train W for as many example evaluations."""

import copy
from collections.abc import Callable, Iterator
from statistics import fmean

import torch
from torch import nn

from lecture4 import ops
from lecture4.lab import Claim, Finding, Item, Lab, Plot, Table, Widget, curves, figure
from lecture4.optim import SGD, RandomLocalSearch, RandomSearch
from lecture4.randomness import generator

Examples = tuple[torch.Tensor, torch.Tensor]  # inputs (N, C, H, W), labels (N,)

FORWARD, BACKWARD = 1, 2  # evaluations that each counts for, of one example
# Optimizer, batch size (None: all examples), and step sizes to choose from.
METHODS = {
    "random search": (RandomSearch, None, (1e-3, 3e-3, 1e-2)),
    "random local search": (RandomLocalSearch, 128, (3e-4, 1e-3, 3e-3, 1e-2)),
    "gradient descent": (SGD, None, (3e-3, 1e-2, 3e-2, 1e-1)),
    "minibatch SGD": (SGD, 64, (3e-4, 1e-3, 3e-3, 1e-2)),
}
SEARCHES = [name for name, (kind, _, _) in METHODS.items() if kind is not SGD]
SLOPES = [name for name, (kind, _, _) in METHODS.items() if kind is SGD]
MARKS = 25  # points of a curve


def measure(lab: Lab) -> dict:
    """Choose each method's step size with a seed of its own, then race with others."""
    images = min(lab.pick(2_000, 5_000), len(lab.dataset.train_labels) // 2)
    first, budget = images // 10, images * lab.pick(50, 120)
    marks = [round(first * (budget / first) ** (i / (MARKS - 1))) for i in range(MARKS)]
    tuning_seed = lab.seed + 1000
    model, examples, validation, _ = _problem(lab, tuning_seed, images)
    sweep, rates = {}, {}
    for name, (_, _, choices) in METHODS.items():
        lab.note(f"step size of {name}")
        sweep[name] = [
            [rate, race(name, rate, model, examples, validation, marks[::6], tuning_seed)[-1]]
            for rate in choices
        ]
        rates[name] = max(sweep[name], key=lambda tried: tried[1])[0]
    seeds = lab.seeds(lab.pick(3, 5))
    best = {name: [] for name in METHODS}
    for seed in seeds:
        model, examples, _, test = _problem(lab, seed, images)
        for name in METHODS:
            lab.note(f"{name}, seed={seed}")
            best[name].append(race(name, rates[name], model, examples, test, marks, seed))
    return {
        "seeds": seeds,
        "tuning_seed": tuning_seed,
        "images": images,
        "test_images": len(test[1]),
        "chance": 1 / len(lab.dataset.class_names),
        "evaluations": marks,
        "sweep": sweep,
        "rates": rates,
        "batches": {name: size or images for name, (_, size, _) in METHODS.items()},
        "updates": {name: budget // cost(name, images) for name in METHODS},
        "best": best,
    }


def race(
    name: str,
    rate: float,
    model: nn.Module,
    examples: Examples,
    judges: Examples,
    marks: list[int],
    seed: int,
) -> list[float]:
    """Best accuracy so far at each mark, of a copy of the model that one method trains.

    Args:
        name: of the method.
        rate: its step size.
        model: where it begins.
        examples: to train on.
        judges: examples whose accuracy counts; looking at them is not charged.
        marks: example evaluations, rising; a mark shows what has been paid for by then.
        seed: of batches and candidates.
    """
    torch.manual_seed(seed)
    model, (x, y) = copy.deepcopy(model), examples
    kind, size, _ = METHODS[name]
    optimizer = kind(model.parameters(), lr=rate)
    price, spent, kept = cost(name, len(y)), 0, None
    if kind is not SGD and size is None:  # the first W; from here on its loss is known
        kept, spent = ops.cross_entropy(model(x), y), FORWARD * len(y)
    best, curve = 0.0, []
    for index in _batches(len(y), size, seed):
        if spent + price > marks[len(curve)]:
            best = max(best, _accuracy(model, judges))
            curve += [best for mark in marks[len(curve) :] if spent + price > mark]
            if len(curve) == len(marks):
                break
        batch = (x, y) if size is None else (x[index], y[index])
        tried = _step(
            optimizer, lambda batch=batch: ops.cross_entropy(model(batch[0]), batch[1]), kept
        )
        kept = None if kept is None else min(tried)
        spent += price
    return curve


def cost(name: str, examples: int) -> int:
    """Example evaluations of one update.

    A forward pass of one example is one, a backward pass two: it has two products of matrices, by
    the weights and by the inputs, where the forward pass has one. Both searches compare the W they
    keep with a candidate; on all examples the loss of the former is known.
    """
    kind, size, _ = METHODS[name]
    passes = FORWARD + BACKWARD if kind is SGD else FORWARD if size is None else 2 * FORWARD
    return passes * min(size or examples, examples)


def _step(
    optimizer: torch.optim.Optimizer, loss: Callable[[], torch.Tensor], kept: torch.Tensor | None
) -> list[torch.Tensor]:
    """One update; the losses it asked for. The first is ``kept``, if that is given."""
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
    """Full batches of indices, shuffled anew in each epoch, without end."""
    draw, size = generator(seed), min(size or n, n)
    while True:
        yield from torch.randperm(n, generator=draw)[: n // size * size].split(size)


def _accuracy(model: nn.Module, judges: Examples) -> float:
    with torch.no_grad():
        return (model(judges[0]).argmax(1) == judges[1]).double().mean().item()


def _problem(lab: Lab, seed: int, images: int) -> tuple[nn.Module, Examples, Examples, Examples]:
    """A softmax classifier before its first step; training, validation and test examples."""
    classifier, data = lab.assemble("model=softmax", "model.layers=byhand", seed=seed)
    shuffled = torch.randperm(len(data.train_index), generator=generator(seed))
    chosen, judges, d = data.train_index[shuffled[:images]], data.val_index[:2_000], data.dataset
    return (
        classifier.model,
        (classifier.preprocess(d.train_inputs[chosen]), d.train_labels[chosen]),
        (classifier.preprocess(d.train_inputs[judges]), d.train_labels[judges]),
        (classifier.preprocess(d.test_inputs[:2_000]), d.test_labels[:2_000]),
    )


def judge(m: dict) -> list[Finding]:
    """Does the slope lead to a better W than chance does, for the same price?"""
    final = {name: [100 * curve[-1] for curve in m["best"][name]] for name in METHODS}
    searched = [max(pair) for pair in zip(*(final[name] for name in SEARCHES), strict=True)]
    # Five points: over twice the standard error of an accuracy near 30 % of 2,000 images.
    ahead = [
        Finding(
            f"best test accuracy of {name} minus that of the better search, at the end of the "
            "budget",
            [a - b for a, b in zip(final[name], searched, strict=True)],
            at_least=5.0,
            unit="%",
        )
        for name in SLOPES
    ]
    return [
        *ahead,
        Finding(
            "full sum is expensive: best test accuracy of minibatch SGD minus that of gradient "
            "descent on all examples",
            [a - b for a, b in zip(final["minibatch SGD"], final["gradient descent"], strict=True)],
            at_least=0.0,
            unit="%",
        ),
        # An order of magnitude: more than any other way to count a backward pass could undo.
        Finding(
            "part of the budget after which minibatch SGD is as good as the better search is at "
            "its end",
            [
                _reached(curve, goal / 100, m["evaluations"])
                for curve, goal in zip(m["best"]["minibatch SGD"], searched, strict=True)
            ],
            at_most=0.1,
        ),
    ]


def draw(m: dict) -> list[Item]:
    """The race, replayed; its curves with their spread; the step sizes."""
    marks, budget = m["evaluations"], m["evaluations"][-1]
    means = {
        name: [round(100 * fmean(at), 2) for at in zip(*m["best"][name], strict=True)]
        for name in METHODS
    }
    shown = figure("example evaluations", "best test accuracy so far, %", log_x=True)
    shown.update_xaxes(dtick=1)
    for colour, name in enumerate(METHODS):
        percent = [[round(100 * a, 2) for a in curve] for curve in m["best"][name]]
        curves(shown, marks, percent, name, colour)
    shown.add_hline(
        100 * m["chance"],
        line={"dash": "dot", "width": 1},
        annotation_text="chance",
        annotation_position="bottom right",
    )
    rates = sorted({rate for tried in m["sweep"].values() for rate, _ in tried})
    results = ", ".join(f"{name} {means[name][-1]:.1f} %" for name in METHODS)
    return [
        Widget(
            "race",
            {
                "evaluations": marks,
                "methods": [{"name": name, "accuracy": means[name]} for name in METHODS],
                "chance": 100 * m["chance"],
            },
            "The race replayed: play it, or drag the number of example evaluations, and see the "
            "best accuracy of each method by then.",
            f"Mean of {len(m['seeds'])} seeds. The axis is logarithmic: each step to the right "
            "costs more than the one before it.",
        ),
        Plot(
            shown,
            f"Best test accuracy after {budget:,} example evaluations: {results}; chance is "
            f"{100 * m['chance']:.0f} %.",
            f"Mean and range of {len(m['seeds'])} seeds; {m['images']:,} training images, accuracy "
            f"on {m['test_images']:,} test images, looked at {MARKS} times. A forward pass of one "
            "example counts 1, a backward pass 2: it has two products of matrices where the "
            "forward pass has one (for this model one would do, so the slope is charged too much "
            "rather than too little).",
        ),
        Table(
            ["method", "step size", "batch", "updates", "test accuracy"],
            [
                [
                    name,
                    f"{m['rates'][name]:g}",
                    m["batches"][name],
                    m["updates"][name],
                    f"{means[name][-1]:.1f} %",
                ]
                for name in METHODS
            ],
            "Step size: η of the gradient methods, the standard deviation of what the searches "
            "draw. Random local search compares each candidate with the W it keeps on a fresh "
            "minibatch, random search on all examples.",
        ),
        Table(
            ["step size", *(f"{rate:g}" for rate in rates)],
            [[name, *(_tried(m, name, rate) for rate in rates)] for name in METHODS],
            f"Validation accuracy in %, of seed {m['tuning_seed']}, which does not race; * is "
            "chosen.",
        ),
    ]


def _tried(m: dict, name: str, rate: float) -> str:
    accuracy = dict(m["sweep"][name]).get(rate)
    chosen = " *" if rate == m["rates"][name] else ""
    return "" if accuracy is None else f"{100 * accuracy:.1f}{chosen}"


def _reached(curve: list[float], goal: float, marks: list[int]) -> float:
    """The first mark at which a curve reaches a goal, as a part of the last one; 1 if it never."""
    return next((m for a, m in zip(curve, marks, strict=True) if a >= goal), marks[-1]) / marks[-1]


CLAIM = Claim(
    name="search",
    title="Random search, or follow the slope",
    quote="Random search, or follow the slope.",
    text="Four ways to find the W of one softmax classifier, from the same start and with the same "
    "examples: draw a new W and keep the best (random search); take a random step from the best "
    "(random local search); go down the gradient of all examples (gradient descent); or of 64 at "
    "a time (minibatch SGD). All have paid for the same number of example evaluations at each "
    "point of the axis, and each has the step size that serves it best of three or four. Look how "
    "early the curves part.",
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
