"""Activation functions: the gradient that reaches the first of ten layers, and training."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from lecture4.byhand import functional as F
from lecture4.lesson.lab import (
    Comparison,
    Finding,
    Item,
    Lab,
    Plot,
    Published,
    Table,
    lines,
    mean_curve,
    percent,
)
from lecture4.models import MLP

TITLE = "Activation functions"
QUOTE = ["In practice: use ReLu, don't use sigmoid or tanh."]
TEXT = (
    "A net of ten hidden layers of 100 units with sigmoid, tanh or ReLU, each initialised as "
    "the lecture advises: Xavier for sigmoid and tanh, He for ReLU. The gradient of each layer is "
    "measured before training; then the three nets are trained alike, each at the best of the "
    "rates tried. See whether the gradient reaches the first layers, and whether each net exceeds "
    "chance."
)
FORMULAS = [
    r"\sigma(z) = \frac{1}{1 + e^{-z}}",
    r"\sigma'(z) = \sigma(z) (1 - \sigma(z)) \le \frac{1}{4}",
    r"\tanh'(z) = 1 - \tanh^2(z) \le 1",
    r"\text{ReLU}(z) = \max(0, z)",
    r"\text{ReLU}'(z) \in \{0, 1\}",
    r"\frac{\partial L}{\partial z_l} = "
    r"f'(z_l) \odot W_{l+1}^T \frac{\partial L}{\partial z_{l+1}}",
]
CODE = [F.sigmoid, F.tanh, F.relu, MLP]
HIDDEN = [100] * 10
IMAGES = 1000  # in the batch whose gradient is measured
NETS = {"sigmoid": ("sigmoid", "xavier"), "tanh": ("tanh", "xavier"), "ReLU": ("relu", "he")}


@dataclass
class Measured:
    """Gradients and trainings, by activation."""

    batch: int
    gradients: dict[str, list[list[float]]]  # ‖∂L/∂W‖ for each seed, of each layer
    trained: Comparison


def measure(lab: Lab) -> Measured:
    """Gradients before training; then train each activation at the best of several rates."""
    lab.note("gradients of ten layers before the first step")
    classifier, data = lab.assemble("model=mlp")
    seeds, index = lab.seeds(3), data.train_index[:IMAGES]
    x = classifier.preprocess(data.dataset.train_inputs[index])
    y = data.dataset.train_labels[index]
    classes = len(data.dataset.class_names)
    epochs, images = lab.pick((3, 4_500), (4, 22_500))
    share = round(min(1, images / len(data.train_index)), 3)
    hidden = str(HIDDEN).replace(" ", "")
    length = f"trainer.max_epochs={epochs}", f"data.train_share={share}"
    rates = {"sgd": (0.01, 0.03, 0.1)} | lab.pick({}, {"adam": (0.001, 0.003, 0.01)})
    return Measured(
        len(y),
        {
            name: [gradient_norms(*net, x, y, classes, seed) for seed in seeds]
            for name, net in NETS.items()
        },
        lab.compare(
            ["model=mlp", f"model.hidden={hidden}", "augment=none", *length],
            {name: [f"model.activation={a}", f"model.init={i}"] for name, (a, i) in NETS.items()},
            rates,
            seeds,
        ),
    )


def gradient_norms(
    activation: str, init: str, x: torch.Tensor, y: torch.Tensor, num_classes: int, seed: int
) -> list[float]:
    """‖∂L/∂W‖ of each layer of an untrained MLP, from the first hidden layer to the scores."""
    torch.manual_seed(seed)
    model = MLP(x.shape[1:], num_classes, HIDDEN, activation, init=init)
    F.cross_entropy(model(x), y).backward()
    return [m.weight.grad.norm().item() for m in model.modules() if isinstance(m, nn.Linear)]


def judge(m: Measured) -> Iterator[Finding]:
    """Compare gradients of two hidden layers of equal shape, and accuracies seed by seed."""
    definition = "log₁₀ of the ratio of ‖∂L/∂W‖, before training."
    yield Finding(
        "sigmoid's gradient",
        "sigmoid's gradient in the second hidden layer over the tenth's, in powers of ten",
        decades(m.gradients["sigmoid"]),
        at_most=-2,
        why="at a hundredth, the second layer would need 100 times as many steps",
        definition=definition,
    )
    yield Finding(
        "ReLU's gradient",
        "ReLU's gradient in the second hidden layer over the tenth's, in powers of ten",
        decades(m.gradients["ReLU"]),
        at_least=-1,
        at_most=1,
        why="the two differ by at most a factor of ten",
        definition=definition,
    )
    yield m.trained.learned("ReLU")
    yield m.trained.better("ReLU", than="sigmoid")
    yield m.trained.better("ReLU", than="tanh")


def decades(gradients: list[list[float]]) -> list[float]:
    """log₁₀ of the second layer's norm over the tenth's, for each seed."""
    return [math.log10(max(norms[1], 1e-300) / max(norms[9], 1e-300)) for norms in gradients]


def published(m: Measured) -> Iterator[Published]:
    """How many times as fast ReLU is, in epochs; not if a net only guesses."""
    chance = m.trained.chance
    tanh, relu = (m.trained.variants[name].curves for name in ("tanh", "ReLU"))
    goals = [min(a[-1], b[-1]) for a, b in zip(tanh, relu, strict=True)]
    if min(goals) > chance:
        curves = zip(tanh, relu, goals, strict=True)
        yield Published(
            "epochs that tanh takes to the same accuracy, over ReLU's",
            theirs=6,
            ours=[epochs(a, goal, chance) / epochs(b, goal, chance) for a, b, goal in curves],
            reported="ReLU six times faster to 25 % training error",
            source="Krizhevsky et al. 2012, fig. 1",
            differs="Theirs: a ConvNet of four layers, training error. Ours: an MLP of ten hidden "
            f"layers, {len(tanh[0])} epochs, validation accuracy at which the slower net ends.",
            unit="times",
            none=1,
        )


def epochs(curve: list[float], goal: float, chance: float) -> float:
    """Epochs until the accuracy, at first by chance, reaches the goal, interpolated."""
    for epoch, (before, after) in enumerate(pairwise([chance, *curve])):
        if after >= goal:
            return epoch + (goal - before) / (after - before)
    raise ValueError(f"{curve} does not reach {goal}")


def draw(m: Measured) -> Iterator[Item]:
    """Gradients by layer, training curves, and the rates tried."""
    yield _gradients(m)
    yield m.trained.curves_plot("Each activation at its best setting in the table below.")
    settings = (f"{optim} {rate:g}" for optim, rate in m.trained.settings)
    yield Table(
        ["activation", *settings, "best", "test accuracy (%), each seed"],
        [
            [name, *(f"{v:.1f}" for v in percent(variant.validation)), *m.trained.row(name)]
            for name, variant in m.trained.variants.items()
        ],
        caption="Best validation accuracy (%) of the first seed at each setting; then the best "
        f"setting and its test accuracy. {m.trained.note}",
    )


def _gradients(m: Measured) -> Plot:
    layers = list(range(1, len(HIDDEN) + 2))
    norms = {name: mean_curve(seeds) for name, seeds in m.gradients.items()}
    plot = lines(
        layers,
        m.gradients,
        x="layer",
        y="gradient norm ‖∂L/∂W‖",
        log="y",
        alt="Gradient norms before training, in the second and the tenth hidden layer: "
        + "; ".join(f"{name} {mean[1]:.1e} and {mean[9]:.1e}" for name, mean in norms.items()),
        caption=f"Before training, over {m.batch:,} training images: mean and range of the seeds. "
        "The gradient flows from right to left, and each sigmoid multiplies it by at most a "
        "quarter. Hidden layers 2 to 10 have the same shape, 100 × 100, so their norms can be "
        "compared; the first has more weights, the scores have fewer.",
    )
    plot.figure.update_xaxes(tickvals=layers[::2], ticktext=[*layers[:-2:2], "scores"], tickangle=0)
    plot.figure.update_yaxes(exponentformat="power")
    return plot
