"""Scores to probabilities: softmax sums to 1, ignores a constant, and starts at a loss of ln K."""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from lecture4.byhand import functional as F
from lecture4.data.randomness import generator
from lecture4.lesson.lab.finding import Claim, Finding
from lecture4.lesson.lab.items import Item, Plot, Table
from lecture4.lesson.lab.plots import add_line, add_points, figure, mean_curve, spread
from lecture4.lesson.lab.trainings import Lab
from lecture4.models import SoftmaxClassifier
from lecture4.training.datamodule import DataModule

MODELS = {"softmax": "softmax classifier", "mlp": "MLP", "convnet": "ConvNet"}
SPREADS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0]  # of the scores
CONSTANTS = [*range(-150, 0, 10), *range(10, 160, 10), -1000, 1000]
REDRAWS = 30  # of the last layer
APART = 0.05  # nats: a reader takes a printed loss of 2.3 for ln 10
EPSILON = torch.finfo(torch.float32).eps


def measure(lab: Lab) -> dict:
    """Measure softmax on scores of untrained models, and the loss before training."""
    classifier, data = lab.assemble("model=softmax")
    classes = len(classifier.class_names)
    images, labels = _balanced(data, classes, lab.pick(30, 100))
    x = classifier.preprocess(images)
    seeds = lab.seeds(10)
    untrained = {name: _untrained(lab, name, x, classes, seeds) for name in MODELS}
    scores = untrained["mlp"][0].scores
    expected = _expected_loss(classes, lab.seed)
    return {
        "seeds": seeds,
        "images": len(images),
        "classes": classes,
        "sum_error": max(_sum_error(scale * scores) for scale in (1, 10, 100, 1000)),
        "largest_score": scores.abs().max().item(),
        "shifts": [_shift(scores, c) for c in CONSTANTS],
        "start": {name: _start(nets, labels, seeds, expected) for name, nets in untrained.items()},
        "scaled": _scaled(untrained["softmax"], labels, expected),
    }


def _start(
    nets: list["_Untrained"], labels: torch.Tensor, seeds: list[int], expected: Callable
) -> dict[str, list[float]]:
    """Measured and predicted loss before training, for each seed."""
    return {
        "loss": [_loss(net.scores, labels) for net in nets],
        "spread": [_rms(net.sigma) for net in nets],
        "redrawn": [_mean_loss(net, labels, seed) for seed, net in zip(seeds, nets, strict=True)],
        "expected": [expected(net.sigma) for net in nets],
    }


def _scaled(nets: list["_Untrained"], labels: torch.Tensor, expected: Callable) -> dict:
    """The loss before training with W scaled so that the scores have each of ``SPREADS``."""
    first = nets[0]
    return {
        "spread": SPREADS,
        "loss": [
            [_loss(net.scores * (wide / _rms(net.sigma)), labels) for wide in SPREADS]
            for net in nets
        ],
        "expected": [expected(first.sigma * (wide / _rms(first.sigma))) for wide in SPREADS],
    }


def _balanced(data: DataModule, classes: int, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Validation images, equally many of each class, so that a bias towards one cancels."""
    labels = data.dataset.train_labels[data.val_index]
    picked = torch.cat([(labels == k).nonzero().squeeze(1)[:each] for k in range(classes)])
    return data.dataset.train_inputs[data.val_index[picked]], labels[picked]


@dataclass(frozen=True)
class _Untrained:
    """A net's features h (N, F), its scores W h (N, K), and the std of W."""

    features: torch.Tensor
    scores: torch.Tensor
    std: float

    @property
    def sigma(self) -> torch.Tensor:
        """Over draws of W an image's scores are independent N(0, σ²) with σ = std · ‖h‖, (N,)."""
        return self.std * self.features.double().norm(dim=1)


@torch.no_grad()
def _untrained(
    lab: Lab, name: str, x: torch.Tensor, classes: int, seeds: list[int]
) -> list[_Untrained]:
    lab.note(f"untrained {MODELS[name]}, {len(seeds)} seeds")
    built, nets, seen = lab.assemble(f"model={name}")[0].model, [], []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = type(built)(**built.settings)
        last = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
        last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        nets.append(_Untrained(scores=model(x), features=seen.pop(), std=last.weight.std().item()))
    return nets


def _mean_loss(net: _Untrained, labels: torch.Tensor, seed: int) -> float:
    """The mean loss over draws of the last layer, which removes the luck of a single draw."""
    shape = (REDRAWS, net.scores.shape[1], net.features.shape[1])
    drawn = net.std * torch.randn(shape, generator=generator(seed))
    return sum(_loss(net.features @ weight.T, labels) for weight in drawn) / REDRAWS


def _expected_loss(classes: int, seed: int) -> Callable[[torch.Tensor], float]:
    """E[−log softmax(s)_y] of scores s ~ N(0, σ²), as a function of σ (N,); mean over images.

    It equals E[log Σ exp s], estimated on a grid of σ and interpolated.
    """
    normal = torch.randn(20_000, classes, generator=generator(seed), dtype=torch.float64)
    grid = 20 * np.linspace(0, 1, 201) ** 2  # denser where the loss bends
    values = [(sigma * normal).logsumexp(1).mean().item() for sigma in grid]
    return lambda sigma: float(np.interp(sigma.numpy(), grid, values).mean())


def _rms(sigma: torch.Tensor) -> float:
    return sigma.square().mean().sqrt().item()


def _loss(scores: torch.Tensor, labels: torch.Tensor) -> float:
    return F.cross_entropy(scores.double(), labels).item()


def _sum_error(scores: torch.Tensor) -> float:
    return (F.softmax(scores, 1).double().sum(1) - 1).abs().max().item()


def _shift(scores: torch.Tensor, c: float) -> dict:
    """Largest change of a probability when c is added to all scores.

    ``written`` computes e^s / Σ e^s as it stands: None where it overflows or is 0/0.
    """
    p, exponentials = F.softmax(scores, 1), (scores + c).exp()
    written = (exponentials / exponentials.sum(1, keepdim=True) - p).abs().max().item()
    return {
        "constant": c,
        "change": (F.softmax(scores + c, 1) - p).abs().max().item(),
        "written": written if math.isfinite(written) else None,
    }


def _round_off(m: dict, c: float) -> float:
    """Rounding s + c changes a score by at most ε|s + c|/2; exp and a sum of K terms add to it."""
    return EPSILON * (m["classes"] + m["largest_score"] + abs(c))


def judge(m: dict) -> list[Finding]:
    """Identities must hold to float32's round-off, losses to a twentieth of a nat."""
    log_k = math.log(m["classes"])
    findings = [
        Finding(
            f"largest |Σₖ P(Y = k) − 1| for the scores of {m['images']} images and 10, 100 and "
            "1000 times those scores, in float32; K roundings allow Kε",
            [m["sum_error"]],
            at_most=m["classes"] * EPSILON,
        ),
        Finding(
            "largest change of a probability when a constant c, |c| ≤ 1000, is added to all "
            "scores, as a share of float32's round-off, ε(K + |s| + |c|)",
            [max(row["change"] / _round_off(m, row["constant"]) for row in m["shifts"])],
            at_most=1,
        ),
        Finding(
            "loss of the untrained softmax classifier, which draws a small W, minus ln K",
            [loss - log_k for loss in m["start"]["softmax"]["loss"]],
            at_least=-APART,
            at_most=APART,
            unit="nats",
        ),
    ]
    for name in ("mlp", "convnet"):
        start = m["start"][name]
        findings.append(
            Finding(
                f"loss of the untrained {MODELS[name]}, mean of {REDRAWS} draws of its last layer, "
                "minus the loss of normal scores with the same spread",
                [loss - e for loss, e in zip(start["redrawn"], start["expected"], strict=True)],
                at_least=-APART,
                at_most=APART,
                unit="nats",
            )
        )
    return findings


def draw(m: dict) -> list[Item]:
    """The loss before training against the spread of the scores; the effect of a constant."""
    return [_first_loss(m), _table(m), _invariance(m)]


def _table(m: dict) -> Table:
    return Table(
        ["untrained", "spread σ of the scores", "loss before training (nats)"],
        [
            [MODELS[name], spread(start["spread"], 3), spread(start["loss"], 3)]
            for name, start in m["start"].items()
        ],
        f"Mean (lowest–highest) of {len(m['seeds'])} seeds; ln K = {math.log(m['classes']):.3f}.",
    )


def _first_loss(m: dict) -> Plot:
    log_k, spreads = math.log(m["classes"]), m["scaled"]["spread"]
    drawn = figure("spread σ of an image's scores", "loss before training", log_x=True)
    drawn.update_xaxes(dtick=1)
    drawn.add_hline(y=log_k, line_dash="dash", line_color="#7f8c8d")
    add_line(drawn, spreads, m["scaled"]["expected"], "predicted", 0)
    measured = [loss for losses in m["scaled"]["loss"] for loss in losses]
    x = spreads * len(m["seeds"])
    add_points(drawn, x, measured, "softmax classifier, W scaled", 1, 5, "circle-open")
    for i, (name, start) in enumerate(m["start"].items(), 2):
        add_points(
            drawn, start["spread"], start["loss"], f"{MODELS[name]} untrained", i, 8, "diamond"
        )
    means = {name: statistics.fmean(s["loss"]) for name, s in m["start"].items()}
    return Plot(
        drawn,
        f"The dashed line is ln K = {log_k:.3f}. With W scaled up the mean loss {_rise(m)}. Before "
        "training it is "
        + ", ".join(f"{means[name]:.3f} for the {MODELS[name]}" for name in MODELS)
        + ".",
        f"Loss of untrained models on {m['images']} images, a mark for each of {len(m['seeds'])} "
        f"seeds. Dashed: ln K = {log_k:.4f}. Solid: the expected loss of scores from N(0, σ²). A "
        "loss far above the solid line would mean a bug; far above ln K, scores too large.",
    )


def _rise(m: dict) -> str:
    """The spread from which the measured loss is more than ``APART`` from ln K, in words."""
    means = mean_curve(m["scaled"]["loss"])
    log_k, spreads = math.log(m["classes"]), m["scaled"]["spread"]
    off = [s for s, mean in zip(spreads, means, strict=True) if abs(mean - log_k) > APART]
    if not off:
        return f"stays within {APART} nats of it up to σ = {spreads[-1]:g}"
    return f"first differs by more than {APART} nats at σ = {off[0]:g}, and ends at {means[-1]:.3f}"


def _invariance(m: dict) -> Plot:
    shown = [row for row in m["shifts"] if abs(row["constant"]) <= 150]
    constants = [row["constant"] for row in shown]
    drawn = figure("constant c added to all scores", "largest change of a probability", log_y=True)
    series = {
        "exp(s) / Σ exp(s) as written": [row["written"] for row in shown],
        "largest score subtracted first": [row["change"] for row in shown],
    }
    for colour, (name, values) in enumerate(series.items()):
        shares = [value or None for value in values]  # a logarithmic axis has no 0
        add_line(drawn, constants, shares, name, colour, mode="lines+markers")
    add_line(drawn, constants, [_round_off(m, c) for c in constants], "round-off", 7, "dash")
    drawn.update_yaxes(exponentformat="power")
    usable = [row["constant"] for row in shown if row["written"] is not None]
    return Plot(
        drawn,
        "With the largest score subtracted the probabilities change by at most "
        f"{max(row['change'] for row in shown):.0e}; the formula as written gives "
        + (f"numbers from c = {min(usable)} to {max(usable)}." if usable else "no numbers."),
        "Softmax does not change when a constant is added to the scores, so the largest score can "
        "be subtracted first, which keeps exp from overflowing. The formula as written fails at "
        "the limits of float32: ∞/∞ on the right and 0/0 on the left.",
    )


CLAIM = Claim(
    name="probabilities",
    title="Scores to probabilities",
    quote=[
        "Want to interpret raw classifier as probabilities.",
        r"$$s = f(x_i; W)$$ , $$P(Y =k | X = x_i) = \frac{e^sk}{\sum_j e^sj}$$",
    ],
    text="Softmax turns scores into probabilities: they sum to 1, and adding a constant to all "
    "scores changes nothing. An untrained model should give every class 1/K, so its loss should be "
    "−ln 1/K = ln K as long as the scores are small. The softmax classifier here draws a small W "
    "and should start there; scores with spread σ should start above it, by about σ²/2 while σ is "
    "small. See where He initialisation puts the MLP and the ConvNet.",
    formulas=[
        r"P(Y = k \mid X = x_i) = \frac{e^{s_k}}{\sum_j e^{s_j}} = "
        r"\frac{e^{s_k + c}}{\sum_j e^{s_j + c}}",
        r"L_i = -\log P(Y = y_i \mid X = x_i)",
        r"s_1 = \dots = s_K: \quad L_i = -\log \tfrac{1}{K} = \log K",
    ],
    code=[F.softmax, F.log_softmax, SoftmaxClassifier],
    measure=measure,
    judge=judge,
    draw=draw,
)
