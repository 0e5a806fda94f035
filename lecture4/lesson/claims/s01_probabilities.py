"""Scores to probabilities: softmax sums to 1, ignores a constant, and starts at a loss of ln K."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from lecture4.byhand import functional as F
from lecture4.data.randomness import generator
from lecture4.lesson.lab import (
    COLOURS,
    Finding,
    Item,
    Lab,
    Plot,
    Table,
    add_points,
    exact,
    lines,
    spread,
)
from lecture4.models import SoftmaxClassifier
from lecture4.training.datamodule import DataModule

TITLE = "Scores to probabilities"
QUOTE = [
    "Want to interpret raw classifier as probabilities.",
    r"$$s = f(x_i; W)$$ , $$P(Y =k | X = x_i) = \frac{e^sk}{\sum_j e^sj}$$",
]
TEXT = (
    "Softmax turns scores into probabilities: they sum to 1, and adding a constant to all "
    "scores changes nothing. An untrained model should give every class 1/K, so its loss should be "
    "−ln 1/K = ln K as long as the scores are small. The softmax classifier here draws a small W "
    "and should start there; scores with spread σ should start above it, by about σ²/2 while σ is "
    "small. See where He initialisation puts the MLP and the ConvNet."
)
FORMULAS = [
    r"P(Y = k \mid X = x_i) = \frac{e^{s_k}}{\sum_j e^{s_j}} = "
    r"\frac{e^{s_k + c}}{\sum_j e^{s_j + c}}",
    r"L_i = -\log P(Y = y_i \mid X = x_i)",
    r"s_1 = \dots = s_K: \quad L_i = -\log \tfrac{1}{K} = \log K",
]
CODE = [F.softmax, F.log_softmax, SoftmaxClassifier]
MODELS = {"softmax classifier": "softmax", "MLP": "mlp", "ConvNet": "convnet"}
SPREADS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0]  # of the scores
CONSTANTS = [*range(-150, 0, 10), *range(10, 160, 10), -1000, 1000]
REDRAWS = 30  # of the last layer
APART = 0.05  # nats
EPSILON = torch.finfo(torch.float32).eps


@dataclass
class Shift:
    """Largest change of a probability when a constant is added to all scores."""

    constant: int
    softmax: float
    as_written: float | None  # by e^s / Σ e^s; None where it overflows or is 0/0
    round_off: float


@dataclass
class Start:
    """A model before training: spread σ of its scores, and losses (nats)."""

    spread: float
    loss: float
    redrawn: float  # mean over draws of the last layer, which removes the luck of a single one
    expected: float  # of scores from N(0, σ²)
    scaled: list[float]  # with W scaled, for each of SPREADS
    predicted: list[float]  # of scores from N(0, σ²), for each of SPREADS


@dataclass
class Measured:
    """Softmax on the scores of an untrained MLP; models before training, for each seed."""

    images: int
    classes: int
    sum_error: float
    equal: float  # loss if all scores are equal
    shifts: list[Shift]
    starts: dict[str, list[Start]]


@torch.no_grad()
def measure(lab: Lab) -> Measured:
    """Softmax on scores of an untrained MLP, and losses before training."""
    lab.note("untrained models")
    classifier, data = lab.assemble("model=softmax")
    classes = len(classifier.class_names)
    images, labels = balanced(data, classes, lab.pick(30, 100))
    x = classifier.preprocess(images)
    models = {name: lab.assemble(f"model={choice}")[0].model for name, choice in MODELS.items()}
    expected, seeds = expected_loss(classes, lab.seed), lab.seeds(10)
    scores = untrained(models["MLP"], lab.seed)(x)
    sums = [F.softmax(scale * scores, 1).double().sum(1) for scale in (1, 10, 100, 1000)]
    return Measured(
        images=len(x),
        classes=classes,
        sum_error=max((total - 1).abs().max().item() for total in sums),
        equal=loss(torch.zeros_like(scores), labels),
        shifts=[shift(scores, c) for c in CONSTANTS],
        starts={
            name: [start(model, x, labels, seed, expected) for seed in seeds]
            for name, model in models.items()
        },
    )


def balanced(data: DataModule, classes: int, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Validation images, equally many of each class, so that a bias towards one cancels."""
    labels = data.dataset.train_labels[data.val_index]
    picked = torch.cat([(labels == k).nonzero().squeeze(1)[:each] for k in range(classes)])
    return data.dataset.train_inputs[data.val_index[picked]], labels[picked]


def untrained(model: nn.Module, seed: int) -> nn.Module:
    """The same architecture, its weights drawn with another seed."""
    torch.manual_seed(seed)
    return type(model)(**model.settings)


def start(
    model: nn.Module,
    x: torch.Tensor,
    labels: torch.Tensor,
    seed: int,
    expected: Callable[[torch.Tensor], float],
) -> Start:
    """Losses of a net of this architecture whose weights are drawn with ``seed``."""
    model, seen = untrained(model, seed), []
    last = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    last.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    scores, std = model(x), last.weight.std().item()  # (N, K)
    (h,) = seen  # its features (N, F)
    sigma = std * h.double().norm(dim=1)  # over draws of W, scores are N(0, σ²): (N,)
    spread = sigma.square().mean().sqrt().item()
    drawn = std * torch.randn((REDRAWS, *last.weight.shape), generator=generator(seed))
    return Start(
        spread,
        loss=loss(scores, labels),
        redrawn=sum(loss(h @ weight.T, labels) for weight in drawn) / REDRAWS,
        expected=expected(sigma),
        scaled=[loss(scores * (s / spread), labels) for s in SPREADS],
        predicted=[expected(sigma * (s / spread)) for s in SPREADS],
    )


def loss(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean cross-entropy, in float64."""
    return F.cross_entropy(scores.double(), labels).item()


def expected_loss(classes: int, seed: int) -> Callable[[torch.Tensor], float]:
    """E[−log softmax(s)_y] of scores s ~ N(0, σ²), as a function of σ (N,); mean over images.

    It equals E[log Σ exp s], estimated on a grid of σ and interpolated.
    """
    normal = torch.randn(20_000, classes, generator=generator(seed), dtype=torch.float64)
    grid = 20 * np.linspace(0, 1, 201) ** 2  # denser where the loss bends
    values = [(sigma * normal).logsumexp(1).mean().item() for sigma in grid]
    return lambda sigma: float(np.interp(sigma.numpy(), grid, values).mean())


def shift(scores: torch.Tensor, c: int) -> Shift:
    """Add c to all scores.

    Rounding s + c changes a score by at most ε|s + c|/2; exp and a sum of K terms add to it.
    """
    p, exponentials = F.softmax(scores, 1), (scores + c).exp()
    change = (F.softmax(scores + c, 1) - p).abs().max().item()
    as_written = (exponentials / exponentials.sum(1, keepdim=True) - p).abs().max().item()
    round_off = EPSILON * (scores.shape[1] + scores.abs().max().item() + abs(c))
    return Shift(c, change, as_written if math.isfinite(as_written) else None, round_off)


def judge(m: Measured) -> Iterator[Finding]:
    """Identities must hold to float32's round-off, losses to a twentieth of a nat."""
    yield exact(
        "sum",
        "largest |Σₖ P(Y = k) − 1|",
        m.sum_error,
        at_most=m.classes * EPSILON,
        definition=f"scores of {m.images} images times 1, 10, 100 and 1000; K roundings allow Kε",
    )
    yield exact(
        "constant",
        "change of a probability by adding a constant to all scores, over round-off",
        max(shift.softmax / shift.round_off for shift in m.shifts),
        at_most=1,
        definition="largest for constants |c| ≤ 1000; round-off is ε(K + max |s| + |c|) of float32",
    )
    yield exact(
        "equal scores",
        f"loss when all scores are equal, as with W = 0: distance from ln {m.classes}",
        abs(m.equal - math.log(m.classes)),
        at_most=1e-12,
        unit="nats",
        definition=f"ln {m.classes} = {math.log(m.classes):.4f}; in float64",
    )
    for name, starts in m.starts.items():
        small = name == "softmax classifier"  # it draws a small W, so its scores are small
        goal = "ln K" if small else "the prediction from its scores' spread"
        how = f"mean over {REDRAWS} draws of the last layer, minus the loss of scores from N(0, σ²)"
        yield Finding(
            f"start of the {name}",
            f"loss of the untrained {name}, minus {goal}",
            [s.loss - math.log(m.classes) if small else s.redrawn - s.expected for s in starts],
            at_least=-APART,
            at_most=APART,
            why="a reader takes a printed loss of 2.3 for ln 10",
            unit="nats",
            definition="" if small else how,
        )


def draw(m: Measured) -> Iterator[Item]:
    """The loss before training against the spread of the scores; the effect of a constant."""
    yield _losses(m)
    yield Table(
        ["untrained", "spread σ of the scores", "loss before training (nats)"],
        [
            [name, spread([s.spread for s in starts], 3), spread([s.loss for s in starts], 3)]
            for name, starts in m.starts.items()
        ],
        f"Mean (lowest–highest) of the seeds; ln K = {math.log(m.classes):.3f}.",
    )
    shown = [shift for shift in m.shifts if abs(shift.constant) <= 150]
    yield lines(
        [shift.constant for shift in shown],
        {
            "exp(s) / Σ exp(s) as written": [[shift.as_written or math.nan for shift in shown]],
            "largest score subtracted first": [[shift.softmax or math.nan for shift in shown]],
            "round-off": [[shift.round_off for shift in shown]],
        },
        x="constant c added to all scores",
        y="largest change of a probability",
        log="y",
        yaxis={"exponentformat": "power"},
        alt="With the largest score subtracted probabilities change by at most "
        f"{max(shift.softmax for shift in shown):.0e}; the formula as written gives no number for "
        f"c = {', '.join(str(shift.constant) for shift in shown if shift.as_written is None)}.",
        caption="Subtracting the largest score first changes no probability, and keeps exp from "
        "overflowing. The formula as written ends at ∞/∞ on the right and at 0/0 on the left.",
    )


def _losses(m: Measured) -> Plot:
    small, log_k = m.starts["softmax classifier"], math.log(m.classes)
    plot = lines(
        SPREADS,
        {"predicted": [small[0].predicted], "softmax, W scaled": [s.scaled for s in small]},
        x="spread σ of an image's scores",
        y="loss before training (nats)",
        log="x",
        digits=3,
        xaxis={"dtick": 1},
        caption=f"{m.images} images, {len(small)} seeds. Predicted: scores from N(0, σ²); dashed: "
        "ln K. A loss far above the prediction would mean a bug; far above ln K, scores too large.",
    )
    plot.figure.add_hline(log_k, line={"dash": "dash", "color": COLOURS[7]})
    for i, (name, starts) in enumerate(m.starts.items(), 2):
        x, y = [s.spread for s in starts], [s.loss for s in starts]
        add_points(plot.figure, x, y, f"{name} untrained", i, 8, "diamond")
    return plot
