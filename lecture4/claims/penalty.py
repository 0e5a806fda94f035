"""Regularisation: a penalty λ R(W) against the size of the weights and what they have learned."""

from itertools import pairwise

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lecture4.classifier import Classifier, weights
from lecture4.lab import Claim, Finding, Item, Lab, Plot, Run, Table, curves
from lecture4.lab.drawing import COLOURS

STRENGTHS = [0.0, 0.1, 0.3, 1.0, 10.0]
SERIES = {"train": "training images", "val": "validation", "test": "test images"}


def measure(lab: Lab) -> dict:
    """Train a softmax classifier on few images with penalties from none to too much."""
    available = len(lab.dataset.train_labels)
    images = min(lab.pick(2_000, 5_000), available // 2)
    settings = [
        "model=softmax",
        "augment=none",
        f"data.val_size={available - images}",
        f"trainer.max_epochs={lab.pick(15, 20)}",
        f"+trainer.limit_val_batches={lab.pick(4, 10)}",
    ]
    strengths = lab.pick(STRENGTHS, sorted([*STRENGTHS, 3.0]))
    seeds = lab.seeds(lab.pick(3, 5))
    rows = []
    for seed in seeds:
        for strength in strengths:
            penalty = ["penalty=l2", f"penalty.strength={strength:g}"] if strength else []
            run = lab.train(*settings, *penalty, seed=seed)
            rows.append({"seed": seed, "strength": strength, **_outcome(run)})
    return {
        "seeds": seeds,
        "strengths": strengths,
        "images": images,
        "test_images": len(lab.dataset.test_labels),
        "runs": rows,
    }


def judge(m: dict) -> list[Finding]:
    """Is W smaller, is the gap, and does it serve any purpose?"""
    norm, train, val, test = (_by_seed(m, name) for name in ("norm", *SERIES))
    most = f"λ = {m['strengths'][-1]:g}"
    return [
        Finding(
            "‖W‖ with one λ over ‖W‖ with the next smaller one, the largest such ratio (below 1: "
            "every step of λ makes W smaller)",
            [max(b / a for a, b in pairwise(row)) for row in norm],
            at_most=1.0,
        ),
        # Halved: a fall that is plain beside what seeds do.
        Finding(
            f"the gap between training and validation accuracy with {most} minus half of the gap "
            "without a penalty (below 0: the gap is halved at least)",
            [100 * ((a[-1] - b[-1]) - (a[0] - b[0]) / 2) for a, b in zip(train, val, strict=True)],
            at_most=0.0,
            unit="%",
        ),
        # One point is twice the standard error of an accuracy over 10,000 images.
        Finding(
            f"too much hurts: test accuracy with {most} minus test accuracy without a penalty",
            [100 * (row[-1] - row[0]) for row in test],
            at_most=-1.0,
            unit="%",
        ),
        Finding(
            "test accuracy with the λ > 0 of best validation accuracy minus test accuracy without "
            "a penalty",
            [100 * gain for gain in _gains(m)],
            at_least=0.0,
            unit="%",
        ),
    ]


def draw(m: dict) -> list[Item]:
    """‖W‖ and accuracies over λ; below, the λ that validation chooses."""
    ticks = [f"{strength:g}" for strength in m["strengths"]]
    norm = _by_seed(m, "norm")
    shown = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.4, 0.6])
    shown.update_layout(template=None, colorway=COLOURS, height=560)
    curves(shown, ticks, norm, "‖W‖", 3, row=1, col=1, mode="lines+markers")
    for colour, (series, name) in enumerate(SERIES.items()):
        values = [[100 * v for v in row] for row in _by_seed(m, series)]
        curves(shown, ticks, values, name, colour, row=2, col=1, mode="lines+markers")
    shown.update_xaxes(type="category")
    shown.update_xaxes(title="λ", row=2)
    shown.update_yaxes(title="‖W‖", rangemode="tozero", row=1)
    shown.update_yaxes(title="accuracy, %", row=2)
    first, last = (sum(row[i] for row in norm) / len(norm) for i in (0, -1))
    train, val, test = (
        [100 * sum(row[i] for row in _by_seed(m, name)) / len(norm) for i in (0, -1)]
        for name in SERIES
    )
    return [
        Plot(
            _rounded(shown),
            f"‖W‖ falls from {first:.2f} without a penalty to {last:.2f} at λ = {ticks[-1]}; "
            f"training accuracy goes from {train[0]:.1f} to {train[1]:.1f} %, validation accuracy "
            f"from {val[0]:.1f} to {val[1]:.1f} %, test accuracy from {test[0]:.1f} to "
            f"{test[1]:.1f} %.",
            f"Mean and range of {len(m['seeds'])} seeds, {m['images']:,} training images. The gap "
            "between training and validation accuracy, both of the last epoch, is the "
            "overfitting. ‖W‖ and test accuracy are those of the weights that train.py keeps, from "
            "the epoch of best validation accuracy.",
        ),
        Table(
            ["seed", "λ of best validation accuracy", "test accuracy", "… with λ = 0", "gain"],
            [
                [seed, f"{run['strength']:g}"]
                + [f"{100 * v:.1f} %" for v in (run["test"], run["test"] - gain)]
                + [f"{100 * gain:+.1f} points".replace("-", "−")]
                for seed, run, gain in zip(m["seeds"], _chosen(m), _gains(m), strict=True)
            ],
            f"What λ is for: chosen among those above 0 by validation images, judged by "
            f"{m['test_images']:,} test images.",
        ),
    ]


def _outcome(run: Run) -> dict:
    """Accuracies of the last epoch; and of that whose weights are kept, the best in validation."""
    return {
        "norm": run.weights["model.scores.weight"].norm().item(),
        "train": run.curve("train/accuracy")[-1],
        "val": run.curve("val/accuracy")[-1],
        "best_val": max(run.curve("val/accuracy")),
        "test": run.accuracy,
    }


def _by_seed(m: dict, name: str) -> list[list[float]]:
    """A row for each seed, a column for each λ."""
    return [[run[name] for run in m["runs"] if run["seed"] == seed] for seed in m["seeds"]]


def _chosen(m: dict) -> list[dict]:
    """Each seed's run of best validation accuracy among those with a penalty."""
    return [
        max(
            (run for run in m["runs"] if run["seed"] == seed and run["strength"]),
            key=lambda run: run["best_val"],
        )
        for seed in m["seeds"]
    ]


def _gains(m: dict) -> list[float]:
    return [run["test"] - row[0] for run, row in zip(_chosen(m), _by_seed(m, "test"), strict=True)]


def _rounded(shown: go.Figure) -> go.Figure:
    for trace in shown.data:
        trace.y = [float(f"{v:.4g}") for v in trace.y]
    return shown


CLAIM = Claim(
    name="penalty",
    title="Regularisation",
    quote="Δ_w L(W) = 1/N Σ δ_w L_i(x_i, y_i, W) + λ Δ_w R(W)",
    text="The lecture adds λ R(W) to the loss and says no more about it. Here a softmax classifier "
    "learns from so few images that it knows them much better than others, with R(W) = Σ w² and λ "
    "from none to too much. A larger λ should make ‖W‖ smaller and bring training and validation "
    "accuracy together; whether any λ also makes the test accuracy better is another question, and "
    "the last one asked.",
    formulas=[
        r"L(W) = \frac{1}{N} \sum_{i=1}^{N} L_i(x_i, y_i, W) + \lambda R(W)",
        r"R(W) = \sum_{k,d} w_{kd}^2, \quad \nabla_W R(W) = 2 W",
    ],
    code=[Classifier.objective, weights],
    measure=measure,
    judge=judge,
    draw=draw,
)
