"""The gradient three ways: by hand, by autograd, by finite differences with many step sizes."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from lecture4.byhand import functional as F
from lecture4.byhand.numerical import gradient, relative_error, slope
from lecture4.data.randomness import generator
from lecture4.lesson.lab import (
    COLOURS,
    Finding,
    Item,
    Lab,
    Plot,
    Table,
    add_line,
    lines,
    mean_curve,
    ratio,
)

TITLE = "The gradient, three ways"
QUOTE = [
    "Gradient is the vector of partial derivatives along each dimension - steepest descent is "
    "negative gradient."
]
TEXT = (
    "The gradient of a softmax classifier's loss by the formula derived by hand, by torch's "
    "autograd, and by finite differences with many step sizes h. A finite difference has two "
    "errors: it truncates the Taylor series, and it divides the rounding error of two losses by h. "
    "The formulas predict both, and thus the best h: see whether the measured V-shaped curve "
    "follows the predicted lines."
)
FORMULAS = [
    r"\frac{L(w + h) - L(w)}{h} \approx L^{(1)} + \frac{h}{2} L^{(2)}",
    r"\frac{L(w + h) - L(w - h)}{2h} \approx L^{(1)} + \frac{h^2}{6} L^{(3)}",
    r"h^*_\text{forward} = \sqrt{\frac{2 \varepsilon |L|}{|L^{(2)}|}}, \quad "
    r"h^*_\text{central} = \sqrt[3]{\frac{3 \varepsilon |L|}{|L^{(3)}|}}",
]
CODE = [F.linear, F.cross_entropy, slope, gradient, relative_error]
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
METHODS = ("forward", "central")
NEAR = 0.1  # up to this h the first neglected Taylor term dominates the truncation error
FAR = 1e6  # larger factors count as this
LEAST = 1e-100  # a derivative of 0 counts as this, so that one can divide by it


@dataclass
class Sweep:
    """Relative errors of differences by one method in one precision, for ascending h."""

    h: list[float]
    error: list[float]
    truncation: list[float]  # predicted: the first neglected Taylor term, proportional to h or h²
    round_off: list[float]  # predicted: ε|L|/h
    balance: float  # the h, within those tried, where the predictions balance

    @property
    def best(self) -> tuple[float, float]:
        """The smallest error, and its h."""
        return min(zip(self.error, self.h, strict=True))


@dataclass
class Run:
    """One seed."""

    autograd: dict[str, float]  # relative error of the gradient by hand, in ε, by precision
    sweeps: dict[str, Sweep]  # by method and precision, such as "central, float64"


@dataclass
class Measured:
    """A run for each seed."""

    images: int
    probes: int  # numbers of W along which finite differences were taken
    weights: int  # numbers of W
    runs: list[Run]


def measure(lab: Lab) -> Measured:
    """The slope of a softmax classifier's loss along single weights, three ways, for many h."""
    images, probes, per_decade = lab.pick(20, 50), lab.pick(24, 40), lab.pick(2, 4)
    steps = [10 ** (e / per_decade) for e in range(-12 * per_decade, 1)]
    runs = []
    for seed in lab.seeds(lab.pick(3, 5)):
        lab.note(f"finite differences of {len(steps)} step sizes, seed={seed}")
        classifier, data = lab.assemble("model=softmax", "model.init=xavier", seed=seed)
        draw = generator(seed)
        chosen = data.train_index[torch.randperm(len(data.train_index), generator=draw)[:images]]
        x = classifier.preprocess(data.dataset.train_inputs[chosen]).flatten(1)
        weight = classifier.model.scores.weight.detach()
        at = torch.randperm(weight.numel(), generator=draw)[:probes]
        runs.append(compare(x, data.dataset.train_labels[chosen], weight, at, steps))
    return Measured(images, probes, weight.numel(), runs)


def compare(x: Tensor, y: Tensor, weight: Tensor, at: Tensor, steps: Sequence[float]) -> Run:
    """Errors by autograd, and by finite differences along the numbers ``at`` of W.

    The exact slopes are computed in float64, at the same W (K, D) and inputs (N, D) of float32.
    """
    exact = by_formulas(F, x.double(), y, weight.double()).flatten()[at]
    size = max(exact.abs().max().item(), LEAST)
    loss, second, third = derivatives(x.double(), y, weight.double(), at)
    truncation = {
        "forward": [h / 2 * second / size for h in steps],
        "central": [h**2 / 6 * third / size for h in steps],
    }
    run = Run({}, {})
    for precision, dtype in PRECISIONS.items():
        x_, w_, epsilon = x.to(dtype), weight.to(dtype), torch.finfo(dtype).eps
        both = by_formulas(F, x_, y, w_), by_formulas(functional, x_, y, w_)
        run.autograd[precision] = relative_error(*both) / epsilon
        noise = epsilon * loss  # the rounding error of one loss
        balance = {
            "forward": math.sqrt(2 * noise / max(second, LEAST)),
            "central": (3 * noise / max(third, LEAST)) ** (1 / 3),
        }
        for method in METHODS:
            slopes = [difference(x_, y, w_, at, h, method) for h in steps]
            run.sweeps[f"{method}, {precision}"] = Sweep(
                h=list(steps),
                error=[relative_error(found, exact, LEAST) for found in slopes],
                truncation=truncation[method],
                round_off=[noise / h / size for h in steps],
                balance=min(max(balance[method], steps[0]), steps[-1]),
            )
    return run


def by_formulas(formulas: ModuleType, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """∂L/∂W by ``lecture4.byhand.functional``, or by the autograd of ``torch.nn.functional``."""
    w = weight.clone().requires_grad_()
    formulas.cross_entropy(formulas.linear(x, w), y).backward()
    return w.grad


def difference(x: Tensor, y: Tensor, weight: Tensor, at: Tensor, h: float, method: str) -> Tensor:
    """∂L/∂w of the numbers ``at`` of W by forward or central differences: (len(at),), float64."""

    def loss(w: Tensor) -> float:
        return F.cross_entropy(F.linear(x, w), y).item()

    here, slopes = loss(weight), []
    for i in at:
        e = torch.zeros_like(weight)
        e.view(-1)[i] = 1
        ahead = loss(weight + h * e)
        if method == "forward":
            slopes.append((ahead - here) / h)
        else:  # slope(), but that refuses an h that is lost in rounding
            slopes.append((ahead - loss(weight - h * e)) / (2 * h))
    return torch.tensor(slopes, dtype=torch.float64)


def derivatives(x: Tensor, y: Tensor, weight: Tensor, at: Tensor) -> tuple[float, float, float]:
    """L, and the largest |∂²L/∂w²| and |∂³L/∂w³| among the numbers ``at`` of W.

    With p = P(Y = k) and s_k = … + w x:   ∂p/∂w = x p (1 − p), so from ∂L/∂w = mean x (p − y):
    ∂²L/∂w² = mean x² p (1 − p),   ∂³L/∂w³ = mean x³ p (1 − p) (1 − 2p).
    """
    scores = F.linear(x, weight)
    k, d = at // weight.shape[1], at % weight.shape[1]
    p, x = F.softmax(scores, dim=1)[:, k], x[:, d]  # (N, len(at)) both
    spread = p * (1 - p)
    second, third = x**2 * spread, x**3 * spread * (1 - 2 * p)
    largest = (order.mean(0).abs().max().item() for order in (second, third))
    return F.cross_entropy(scores, y).item(), *largest


def judge(m: Measured) -> Iterator[Finding]:
    """Autograd must agree with the derivation, and finite differences must err as predicted."""
    yield Finding(
        "autograd",
        "relative error of the gradient by hand against autograd",
        [max(run.autograd.values()) for run in m.runs],
        at_most=1000,
        why="a matrix product and a mean round some hundred times",
        unit="ε",
        definition="of all of W; ε is the machine precision; the larger of float32 and float64",
    )
    yield ratio(
        "truncation",
        "largest factor between measured error and c·h or c·h²",
        [worst("truncation", float64(run)) for run in m.runs],
        at_most=2,
        why="a wrong power of h would be off by 10 for each decade of h",
        definition="in float64, where truncation is ten times round-off and h is at most 0.1",
    )
    yield ratio(
        "round-off",
        "largest factor between measured error and ε|L|/h",
        [worst("round-off", run.sweeps.values()) for run in m.runs],
        at_most=10,
        why="ε|L| is an order of magnitude",
        definition="where round-off is ten times truncation and below 1",
    )
    yield ratio(
        "best h",
        "largest factor between the best h and the predicted one",
        [max(apart(s.best[1], s.balance) for s in run.sweeps.values()) for run in m.runs],
        at_most=10,
        why="an h farther off has five times the least error",
        definition="of both methods and precisions; 10 h* errs (10 + 1/10)/2 times as much as h*",
    )
    least = torch.finfo(torch.float64).eps / 100  # an error of 0 counts as this
    errors = [[max(s.best[0], least) for s in float64(run)] for run in m.runs]
    yield ratio(
        "central",
        "least error of central differences over forward's, float64",
        [min(central / forward, FAR) for forward, central in errors],
        at_most=0.1,
        why="ε^(2/3) / ε^(1/2) = 1/400 is predicted, and a tenth is clearly less than 1",
    )


def float64(run: Run) -> list[Sweep]:
    """Forward and central differences in float64."""
    return [run.sweeps[f"{method}, float64"] for method in METHODS]


def worst(law: str, sweeps: Iterable[Sweep]) -> float:
    """Largest factor between error and law where it is ten times the other law; or ``FAR``."""
    factors = []
    for s in sweeps:
        for h, error, t, r in zip(s.h, s.error, s.truncation, s.round_off, strict=True):
            if law == "truncation" and t > 10 * r and h <= NEAR:
                factors.append(apart(error, t))
            if law == "round-off" and 10 * t < r < 1:
                factors.append(apart(error, r))
    return max(factors, default=FAR)


def apart(a: float, b: float) -> float:
    """The factor between two non-negative numbers, from 1 to FAR; FAR if one of them is 0."""
    low, high = sorted((a, b))
    return min(high / low, FAR) if low else FAR if high else 1.0


def draw(m: Measured) -> Iterator[Item]:
    """Error against h in each precision; the cost of each way."""
    for precision in PRECISIONS:
        yield _errors(m, precision)
    autograd = fmean(run.autograd["float64"] for run in m.runs) * torch.finfo(torch.float64).eps
    forward, central = mean_curve([[s.best[0] for s in float64(run)] for run in m.runs])
    yield Table(
        ["the gradient of all of W", "evaluations of the loss", "relative error, float64"],
        [
            ["by hand, against autograd", "1, and 1 backward", autograd],
            ["forward differences, best h", f"{m.weights + 1:,}", forward],
            ["central differences, best h", f"{2 * m.weights:,}", central],
        ],
        f"A check, not a way to train: W has {m.weights:,} numbers, and each needs its own "
        f"evaluations (errors are measured on {m.probes} randomly chosen numbers).",
    )


def _errors(m: Measured, precision: str) -> Plot:
    sweeps = {name: [run.sweeps[f"{name}, {precision}"] for run in m.runs] for name in METHODS}
    least = [f"{name} {fmean(s.best[0] for s in several):.1e}" for name, several in sweeps.items()]
    steps = sweeps["forward"][0].h
    plot = lines(
        steps,
        {name: [s.error for s in several] for name, several in sweeps.items()},
        x="h",
        y=f"relative error, {precision}",
        log="xy",
        alt=f"Relative error of slopes against h in {precision}; least: {', '.join(least)}.",
        caption=f"{m.probes} slopes of the loss on {m.images} images, mean and range of the seeds. "
        "Dashed: the first neglected Taylor term; dash-dotted: ε|L|/h; dotted vertical: the h "
        "where the two balance. No line is fitted. The error is 1 where h is too small to change "
        "the loss.",
        xaxis={"dtick": 2, "exponentformat": "power"},
        yaxis={"range": [{"float32": -6, "float64": -13}[precision], 3], "exponentformat": "power"},
    )
    for colour, (name, several) in enumerate(sweeps.items()):
        law = mean_curve([s.truncation for s in several])
        balance = fmean(s.balance for s in several)
        add_line(plot.figure, steps, law, f"truncation, {name}", colour, "dash", 1.5)
        plot.figure.add_vline(balance, line={"color": COLOURS[colour], "dash": "dot"})
    noise = mean_curve([s.round_off for s in sweeps["forward"]])
    add_line(plot.figure, steps, noise, "round-off", 7, "dashdot", 1.5)
    return plot
