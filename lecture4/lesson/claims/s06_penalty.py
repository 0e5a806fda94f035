"""Regularisation: the effect of a penalty λ R(W) on the weights and on accuracy."""

from itertools import pairwise
from statistics import fmean

import torch

from lecture4.data.randomness import generator
from lecture4.lesson.lab.finding import Claim, Finding, above_chance, paired, resolution
from lecture4.lesson.lab.items import Item, Plot, Table
from lecture4.lesson.lab.plots import add_curves, panels, spread
from lecture4.lesson.lab.trainings import Lab, accuracy
from lecture4.training.classifier import Classifier, parameter_groups, weights

STRENGTHS = [0.0, 0.1, 0.3, 1.0, 10.0]
SERIES = {"train": "training images", "val": "validation", "test": "test images"}
BATCH = 128
TOO_LARGE = 1e6  # counts as ‖W‖ of a training that diverged

Examples = tuple[torch.Tensor, torch.Tensor]  # inputs of the model (N, ...), labels (N,)


def measure(lab: Lab) -> dict:
    """Train a softmax classifier on few images with penalties from none to too strong."""
    images = min(lab.pick(2_000, 5_000), len(lab.dataset.train_labels) // 2)
    strengths = lab.pick(STRENGTHS, sorted([*STRENGTHS, 3.0]))
    seeds, epochs = lab.seeds(lab.pick(4, 5)), lab.pick(15, 20)
    rows = []
    for seed in seeds:
        lab.note(f"softmax classifier on {images} images, {len(strengths)} λ, seed={seed}")
        examples = _examples(lab, images, seed)
        for strength in strengths:
            words = ["penalty=l2", f"penalty.strength={strength:g}"] if strength else []
            classifier, _ = lab.assemble("model=softmax", *words, seed=seed)
            learned = descend(classifier, *examples["train"], epochs, seed)
            found = _outcome(classifier, examples, learned)
            rows.append({"seed": seed, "strength": strength, **found})
    return {
        "seeds": seeds,
        "strengths": strengths,
        "epochs": epochs,
        "images": images,
        "validation_images": len(examples["val"][1]),
        "test_images": len(examples["test"][1]),
        "chance": 1 / len(lab.dataset.class_names),
        "runs": rows,
    }


def descend(
    classifier: Classifier, x: torch.Tensor, y: torch.Tensor, epochs: int, seed: int
) -> bool:
    """Train with the classifier's own objective, optimizer and schedule, without augmentation.

    Returns:
        Whether the objective stayed finite; training stops where it does not.
    """
    size = min(BATCH, len(y))
    optimizer = classifier.optimizer(parameter_groups(classifier.model))
    schedule = classifier.schedule(optimizer, epochs * (len(y) // size))
    draw = generator(seed)
    for _ in range(epochs):
        order = torch.randperm(len(y), generator=draw)
        for batch in order.split(size)[: len(y) // size]:
            objective = classifier.objective(classifier.model(x[batch]), y[batch])
            if not objective.isfinite():
                return False
            optimizer.zero_grad()
            objective.backward()
            optimizer.step()
            schedule.step()
    return True


def _examples(lab: Lab, images: int, seed: int) -> dict[str, Examples]:
    """Some of the training split, all of the validation split and of the test set."""
    classifier, data = lab.assemble("model=softmax", seed=seed)
    train, val, d = data.sample(images, seed, 1), data.val_index, data.dataset
    parts = {
        "train": (d.train_inputs[train], d.train_labels[train]),
        "val": (d.train_inputs[val], d.train_labels[val]),
        "test": (d.test_inputs, d.test_labels),
    }
    return {name: (classifier.preprocess(inputs), y) for name, (inputs, y) in parts.items()}


def _outcome(classifier: Classifier, examples: dict[str, Examples], learned: bool) -> dict:
    """‖W‖ and accuracies of the final W; if it diverged, None and the accuracy of chance."""
    norm = torch.cat([w.detach().flatten() for w in weights(classifier.model)]).norm().item()
    if not learned or not norm < TOO_LARGE:
        return {"norm": None, **dict.fromkeys(SERIES, 1 / len(classifier.class_names))}
    return {"norm": norm} | {
        name: accuracy(classifier.model, *inputs_and_labels)
        for name, inputs_and_labels in examples.items()
    }


def judge(m: dict) -> list[Finding]:
    """Is W smaller, is the gap smaller, and does the test accuracy gain?"""
    norms = [[TOO_LARGE if n is None else n for n in row] for row in _by_seed(m, "norm")]
    smaller = Finding(
        "‖W‖ with one λ over ‖W‖ with the next smaller λ, the largest such ratio (below 1: every "
        "increase of λ makes W smaller)",
        [max(b / a for a, b in pairwise(row)) for row in norms],
        at_most=1.0,
    )
    return [smaller, *_gap(m), *_test_accuracy(m)]


def _gap(m: dict) -> list[Finding]:
    gaps = [paired(a, b) for a, b in zip(_by_seed(m, "train"), _by_seed(m, "val"), strict=True)]
    return [
        # Without a gap there would be nothing to halve.
        Finding(
            "training accuracy minus validation accuracy without a penalty",
            [gap[0] for gap in gaps],
            at_least=max(1.0, resolution(min(m["images"], m["validation_images"]))),
            unit="points",
        ),
        Finding(
            f"gap between training and validation accuracy with λ = {m['strengths'][-1]:g} minus "
            "half of the gap without a penalty (below 0: the gap is at least halved)",
            [gap[-1] - gap[0] / 2 for gap in gaps],
            at_most=0.0,
            unit="points",
        ),
    ]


def _test_accuracy(m: dict) -> list[Finding]:
    test, luck = _by_seed(m, "test"), resolution(m["test_images"])
    without, most = [row[0] for row in test], [row[-1] for row in test]
    chosen = [run["test"] for run in _chosen(m)]
    return [
        Finding(
            f"too much hurts: test accuracy with λ = {m['strengths'][-1]:g} minus test accuracy "
            "without a penalty",
            paired(most, without),
            at_most=-max(1.0, luck),
            unit="points",
        ),
        above_chance(
            "with the λ > 0 of best validation accuracy",
            chosen,
            m["chance"],
            m["test_images"],
            least=1.0,
        ),
        Finding(
            "test accuracy with the λ > 0 of best validation accuracy minus test accuracy without "
            "a penalty",
            paired(chosen, without),
            at_least=0.0,
            unit="points",
        ),
    ]


def draw(m: dict) -> list[Item]:
    """‖W‖ and accuracies against λ; the λ that validation chooses."""
    return [_plot(m), _table(m)]


def _plot(m: dict) -> Plot:
    ticks = [f"{strength:g}" for strength in m["strengths"]]
    shown = panels(2, 1, height=560, shared_xaxes=True, vertical_spacing=0.08)
    place = {"mode": "lines+markers", "col": 1}
    add_curves(shown, ticks, _by_seed(m, "norm"), "‖W‖", 3, row=1, **place)
    for colour, (series, name) in enumerate(SERIES.items()):
        percent = [[100 * v for v in row] for row in _by_seed(m, series)]
        add_curves(shown, ticks, percent, name, colour, row=2, **place)
    shown.update_xaxes(type="category")
    shown.update_xaxes(title="λ", row=2)
    shown.update_yaxes(title="‖W‖", rangemode="tozero", row=1)
    shown.update_yaxes(title="accuracy, %", row=2)
    first, last = (_norm([row[i] for row in _by_seed(m, "norm")]) for i in (0, -1))
    accuracies = [
        "{} accuracy from {:.1f} to {:.1f} %".format(
            name, *(100 * fmean(row[i] for row in _by_seed(m, series)) for i in (0, -1))
        )
        for series, name in zip(SERIES, ("training", "validation", "test"), strict=True)
    ]
    lost = sum(run["norm"] is None for run in m["runs"])
    return Plot(
        shown,
        f"From no penalty to λ = {ticks[-1]}, ‖W‖ goes from {first} to {last}, "
        f"{', '.join(accuracies)}.",
        f"Mean and range of {len(m['seeds'])} seeds, {m['images']:,} training images, "
        f"{m['validation_images']:,} validation images. All values belong to the final W, after "
        f"{m['epochs']} epochs with each λ. Training minus validation accuracy is overfitting."
        + (f" {lost} of {len(m['runs'])} trainings diverged; their ‖W‖ is not shown." * bool(lost)),
    )


def _table(m: dict) -> Table:
    chosen, without = _chosen(m), [row[0] for row in _by_seed(m, "test")]
    gains = paired([run["test"] for run in chosen], without)
    return Table(
        ["seed", "λ of best validation accuracy", "test accuracy", "… with λ = 0", "gain"],
        [
            [
                seed,
                f"{run['strength']:g}",
                f"{100 * run['test']:.1f} %",
                f"{100 * none:.1f} %",
                f"{gain:+.1f} points".replace("-", "−"),
            ]
            for seed, run, none, gain in zip(m["seeds"], chosen, without, gains, strict=True)
        ],
        f"The benefit of λ, chosen from {', '.join(f'{s:g}' for s in m['strengths'] if s)} by "
        f"validation images and evaluated on {m['test_images']:,} test images.",
    )


def _norm(values: list[float | None]) -> str:
    """Mean and range of ‖W‖ over the seeds that did not diverge."""
    known = [v for v in values if v is not None]
    return spread(known, 2) if known else "none (diverged)"


def _by_seed(m: dict, name: str) -> list[list]:
    """A row for each seed, a column for each λ."""
    return [[run[name] for run in m["runs"] if run["seed"] == seed] for seed in m["seeds"]]


def _chosen(m: dict) -> list[dict]:
    """Each seed's run with a penalty that has the best validation accuracy."""
    return [
        max(
            (run for run in m["runs"] if run["seed"] == seed and run["strength"]),
            key=lambda run: run["val"],
        )
        for seed in m["seeds"]
    ]


CLAIM = Claim(
    name="penalty",
    title="Regularisation",
    quote=[
        r"$$\Delta_w L(W) = \frac{1}{N} \sum_{i=1}^N \delta_w L_i(x_i, y_i, W) "
        r"+ \lambda \Delta_w R(W)$$"
    ],
    text="The lecture adds λ R(W) to the loss and says no more about it. Here a softmax classifier "
    "learns from so few images that it should overfit, with R(W) = Σ w² and λ from 0 to too large. "
    "Each λ gets the same number of epochs, and the final W are compared, because stopping early "
    "would be another regularisation. A larger λ should make ‖W‖ smaller and bring training and "
    "validation accuracy together; whether any λ also improves the test accuracy is another "
    "question, which the last finding answers.",
    formulas=[
        r"L(W) = \frac{1}{N} \sum_{i=1}^{N} L_i(x_i, y_i, W) + \lambda R(W)",
        r"R(W) = \sum_{k,d} w_{kd}^2, \quad \nabla_W R(W) = 2 W",
    ],
    code=[Classifier.objective, weights],
    measure=measure,
    judge=judge,
    draw=draw,
)
