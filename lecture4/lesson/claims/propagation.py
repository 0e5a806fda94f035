"""Signal and gradient in each layer of a random net, measured and predicted for Gaussian z."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean as mean

import torch

from lecture4.byhand import functional as F
from lecture4.models import MLP

Function = Callable[[torch.Tensor], torch.Tensor]
DERIVATIVES = {
    "sigmoid": lambda z: F.sigmoid(z) * (1 - F.sigmoid(z)),
    "tanh": lambda z: 1 - F.tanh(z) ** 2,
    "relu": lambda z: (z > 0).to(z.dtype),
}
INVERSES = {"sigmoid": torch.logit, "tanh": torch.atanh, "relu": lambda h: h}
DEPTH, WIDTH = 10, 100
FLAT = 0.01  # a derivative below this counts as saturated
BINS = 24
RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, 4.0)}  # of histograms
GRADIENT_DECADES = (-12.0, 6.0)


@dataclass
class Prediction:
    """q = E[z²], std and spread of f(z), and rms of ∂L/∂z, in each hidden layer."""

    q: list[float]
    std: list[float]
    spread: list[float]
    gradient: list[float]


@dataclass
class Layers:
    """Statistics of untrained hidden layers, [layer][seed], and their prediction."""

    std: float  # of the second layer's weights
    rms: list[list[float]]  # of h
    spread: list[list[float]]  # standard deviation of a unit's activation between images
    gradient: list[list[float]]  # rms of ∂L/∂z
    flat: list[list[float]]  # share of derivatives near zero
    predicted: Prediction

    @property
    def panels(self) -> tuple[tuple[list[list[float]], list[float]], ...]:
        """Spread and gradient, both measured and predicted."""
        return (self.spread, self.predicted.spread), (self.gradient, self.predicted.gradient)


@dataclass
class Histograms:
    """The layers with weights ``multiple`` times the advised; histograms in thousandths."""

    multiple: float
    std: list[float]
    predicted_std: list[float]
    flat: list[float]
    gradient: list[float]
    activations: list[list[int]]
    predicted: list[list[int]]  # activations
    gradients: list[list[int]]


def untrained(
    activation: str, scheme: str, x: torch.Tensor, k: int, seed: int, multiple: float = 1.0
) -> MLP:
    """A net for images x (N, C, H, W) of k classes, with all weights times ``multiple``."""
    torch.manual_seed(seed)
    model = MLP(x.shape[1:], k, [WIDTH] * DEPTH, activation, init=scheme).to(x.dtype)
    for layer in (*model.hidden[::2], model.scores):
        layer.weight.data.mul_(multiple)
    return model


def passed(model: MLP, x: torch.Tensor, y: torch.Tensor) -> tuple[list[torch.Tensor], ...]:
    """z, h of each hidden layer, and ∂Lᵢ/∂z of each and of the scores, last: (N, width) each."""
    z, h, last = [], [], model.flatten(x)
    for linear, f in zip(model.hidden[::2], model.hidden[1::2], strict=True):
        z.append(linear(last))
        h.append(last := f(z[-1]))
    scores = model.scores(last)
    gradient = torch.autograd.grad(F.cross_entropy(scores, y, reduction="sum"), [*z, scores])
    return [v.detach() for v in z], [v.detach() for v in h], list(gradient)


def through(models: list[MLP], x: torch.Tensor, y: torch.Tensor) -> Layers:
    """Statistics of the hidden layers of a net for each seed."""
    z, h, gradient = zip(*(passed(model, x, y) for model in models), strict=True)  # [seed][layer]
    return Layers(
        std=stds(models[0])[1],
        rms=each(rms, h),
        spread=each(lambda h: h.var(0, correction=0).mean().sqrt().item(), h),
        gradient=each(rms, gradient)[:-1],
        flat=each(partial(flat, models[0]), z),
        predicted=predicted(models[0], x, mean(rms(g[-1]) for g in gradient)),
    )


def each(statistic: Callable, seeds: Sequence[list[torch.Tensor]]) -> list[list[float]]:
    """The statistic of each layer and seed: [seed][layer] -> [layer][seed]."""
    return [[statistic(values) for values in layer] for layer in zip(*seeds, strict=True)]


def stds(model: MLP) -> list[float]:
    """Standard deviation of each layer's weights, whose mean is 0; the scores' last."""
    return [rms(layer.weight.detach()) for layer in (*model.hidden[::2], model.scores)]


def rms(values: torch.Tensor) -> float:
    """Root mean square."""
    return values.square().mean().sqrt().item()


def flat(model: MLP, z: torch.Tensor) -> float:
    """Share of derivatives f′(z) near zero."""
    return (DERIVATIVES[model.settings["activation"]](z).abs() < FLAT).double().mean().item()


def predicted(model: MLP, x: torch.Tensor, scores_gradient: float) -> Prediction:
    """Predict spread between images, std and gradient of each hidden layer, for Gaussian z.

    With q = E[z²] and d = E[(z − z′)²]/2 for two images,

        qₗ₊₁ = σ² n E[f(z)²],   dₗ₊₁ = σ² n E[(f(z) − f(z′))²]/2,   z, z′ ~ N(0, qₗ),
        gₗ² = σ² m E[f′(z)²] gₗ₊₁²,   m units in the next layer.

    Source: Poole et al. 2016, arXiv:1606.05340, eq. 3 and 5; Schoenholz et al. 2017,
    arXiv:1611.01232, eq. 10.
    """
    f, derivative = model.hidden[1], DERIVATIVES[model.settings["activation"]]
    images, (first, *later) = x.flatten(1), stds(model)  # (N, D)
    square = images.square().sum(1).mean().item()
    q, d = first**2 * square, first**2 * (square - images.mean(0).square().sum().item())
    made, slopes = Prediction([], [], [], []), []
    for n, std in zip(model.settings["hidden"], later, strict=True):
        second, difference = expected(lambda z: f(z).square(), q), expected_difference(f, q, d)
        made.q.append(q)
        made.std.append(math.sqrt(max(second - expected(f, q) ** 2, 0)))
        made.spread.append(math.sqrt(difference))
        slopes.append(expected(lambda z: derivative(z).square(), q))
        q, d = std**2 * n * second, std**2 * n * difference
    m, g = model.scores.out_features, scores_gradient
    for n, std, slope in reversed([*zip(model.settings["hidden"], later, slopes, strict=True)]):
        g *= math.sqrt(std**2 * m * slope)
        made.gradient.insert(0, g)
        m = n
    return made


def expected(g: Function, q: float) -> float:
    """E[g(z)], z ~ N(0, q)."""
    t, weights = _normal(8001)
    return (weights @ g(math.sqrt(q) * t)).item()


def expected_difference(f: Function, q: float, d: float) -> float:
    """E[(f(z) − f(z′))²]/2, z = a + b, z′ = a − b, a ~ N(0, q − d/2), b ~ N(0, d/2)."""
    t, weights = _normal(401)
    a, b = math.sqrt(max(q - d / 2, 0)) * t[:, None], math.sqrt(d / 2) * t
    return (weights @ (f(a + b) - f(a - b)).square() @ weights).item() / 2


def _normal(points: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in ±8 and weights of the trapezoid rule for an expectation over N(0, 1)."""
    t = torch.linspace(-8, 8, points, dtype=torch.float64)
    weights = torch.exp(-t.square() / 2)
    return t, weights / weights.sum()


def histograms(model: MLP, multiple: float, x: torch.Tensor, y: torch.Tensor) -> Histograms:
    """Measured and predicted histograms of the hidden layers."""
    activation = model.settings["activation"]
    z, h, (*gradient, of_scores) = passed(model, x, y)
    prediction = predicted(model, x, rms(of_scores))
    edges = torch.linspace(*RANGES[activation], BINS + 1, dtype=torch.float64)
    decades = torch.linspace(*GRADIENT_DECADES, BINS + 1, dtype=torch.float64)
    borders = INVERSES[activation](edges)  # z
    return Histograms(
        multiple,
        std=[v.std().item() for v in h],
        predicted_std=prediction.std,
        flat=[flat(model, v) for v in z],
        gradient=list(map(rms, gradient)),
        activations=[histogram(v, edges) for v in h],
        predicted=[gaussian(borders / math.sqrt(q)) for q in prediction.q],
        gradients=[histogram(g.abs().clamp(min=1e-300).log10(), decades) for g in gradient],
    )


def histogram(values: torch.Tensor, edges: torch.Tensor) -> list[int]:
    """Thousandths of the values in each bin; those beyond the edges are in the outermost bins."""
    inside = values.flatten().clamp(edges[0].item(), edges[-1].item())
    counts = torch.histogram(inside, edges).hist
    return (1000 * counts / len(inside)).round().int().tolist()


def gaussian(edges: torch.Tensor) -> list[int]:
    """The same for N(0, 1)."""
    below = torch.special.ndtr(edges)
    below[0], below[-1] = 0, 1
    return (1000 * below.diff()).round().int().tolist()
