"""Weight initialisation: signal and gradient through ten layers, by initial scale."""

import math
from dataclasses import dataclass
from statistics import fmean

import plotly.graph_objects as go
import torch
from torch import nn

from lecture4.byhand import functional as F
from lecture4.byhand.init import initialize_
from lecture4.lesson.lab.finding import Claim, Finding, resolution
from lecture4.lesson.lab.items import Item, Plot, Table, Widget
from lecture4.lesson.lab.plots import add_line, add_points, panels
from lecture4.lesson.lab.trainings import Lab
from lecture4.models import MLP

DEPTH, WIDTH = 10, 100
IMAGES = 500
SCHEMES = {"small": "too small", "xavier": "Xavier", "he": "He", "large": "too big"}
ADVISED = {"sigmoid": "xavier", "tanh": "xavier", "relu": "he"}
NAMES = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU"}
FUNCTIONS = {"sigmoid": F.sigmoid, "tanh": F.tanh, "relu": F.relu}
DERIVATIVES = {
    "sigmoid": lambda z: F.sigmoid(z) * (1 - F.sigmoid(z)),
    "tanh": lambda z: 1 - F.tanh(z) ** 2,
    "relu": lambda z: (z > 0).to(z.dtype),
}
FLAT = 0.01  # a derivative below this counts as saturated
REST = 1e-16  # smaller ratios count as this, about float64's resolution
FLOOR = 1e-15  # smaller values are not drawn, and count as this when compared with predictions
MULTIPLES = [10 ** (k / 4 - 2) for k in range(13)]  # of the advised std, for the slider
BINS = 24
RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, 4.0)}
GRADIENT_DECADES = (-12.0, 6.0)


@dataclass
class Passed:
    """z, h and ∂L/∂z (N, width) of each hidden layer, from one forward and backward pass."""

    z: list[torch.Tensor]
    h: list[torch.Tensor]
    gradient: list[torch.Tensor]  # of each image's own loss
    scores_gradient: torch.Tensor


def measure(lab: Lab) -> dict:
    """Forward and backward passes of untrained nets, their prediction, and short trainings."""
    lab.note("activations and gradients of ten layers before the first step")
    classifier, data = lab.assemble("model=mlp")
    index = data.train_index[:IMAGES]
    x = classifier.preprocess(data.dataset.train_inputs[index]).double()
    y, k = data.dataset.train_labels[index], len(data.dataset.class_names)
    seeds = lab.seeds(lab.pick(3, 5))
    schemes = {
        activation: {scheme: _through(activation, scheme, x, y, k, seeds) for scheme in SCHEMES}
        for activation in ADVISED
    }
    without_factor = [
        _statistics("relu", untrained("relu", "he", x, k, s, math.sqrt(0.5)), x, y) for s in seeds
    ]
    lab.note("histograms over the initial scale")
    return {
        "seeds": seeds,
        "batch": len(y),
        "tested": len(data.dataset.test_labels),
        "chance": 1 / k,
        "schemes": schemes,
        "relu_without_factor": [of["rms"] for of in without_factor],
        "histograms": {a: _histograms(a, x, y, k, seeds[0]) for a in ADVISED},
        "trainings": _trainings(lab),
    }


def untrained(
    activation: str,
    scheme: str,
    x: torch.Tensor,
    num_classes: int,
    seed: int,
    multiple: float = 1.0,
) -> MLP:
    """A net of ten hidden layers initialised by ``scheme``, with all weights times ``multiple``."""
    torch.manual_seed(seed)
    model = MLP(x.shape[1:], num_classes, [WIDTH] * DEPTH, activation, init=scheme).to(x.dtype)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(multiple)
    return model


def passed(model: MLP, x: torch.Tensor, y: torch.Tensor) -> Passed:
    """One pass forward and backward through an MLP without dropout."""
    h, kept_z, kept_h = model.flatten(x), [], []
    for layer in model.hidden:
        h = layer(h)
        (kept_z if isinstance(layer, nn.Linear) else kept_h).append(h)
    scores = model.scores(h)
    loss = F.cross_entropy(scores, y, reduction="sum")
    *gradient, of_scores = torch.autograd.grad(loss, [*kept_z, scores])
    return Passed([z.detach() for z in kept_z], [h.detach() for h in kept_h], gradient, of_scores)


def _statistics(activation: str, model: MLP, x: torch.Tensor, y: torch.Tensor) -> dict:
    """Statistics of each hidden layer; ``flat`` is the share of derivatives near zero."""
    p = passed(model, x, y)
    return {
        "spread": [h.var(0, correction=0).mean().sqrt().item() for h in p.h],
        "rms": [_rms(h) for h in p.h],
        "gradient": [_rms(g) for g in p.gradient],
        "scores_gradient": _rms(p.scores_gradient),
        "flat": _flat(activation, p),
    }


def _flat(activation: str, p: Passed) -> list[float]:
    return [(DERIVATIVES[activation](z).abs() < FLAT).double().mean().item() for z in p.z]


def _rms(values: torch.Tensor) -> float:
    return values.square().mean().sqrt().item()


def _through(
    activation: str, scheme: str, x: torch.Tensor, y: torch.Tensor, k: int, seeds: list[int]
) -> dict:
    models = [untrained(activation, scheme, x, k, seed) for seed in seeds]
    measured = [_statistics(activation, model, x, y) for model in models]
    of_scores = fmean([of["scores_gradient"] for of in measured])
    expected = predicted(activation, _stds(models[0]), x, k, of_scores)
    return {
        **{key: [of[key] for of in measured] for key in ("spread", "gradient", "flat")},
        "predicted": {key: expected[key] for key in ("spread", "gradient")},
        "std": _stds(models[0])[1],
    }


def _stds(model: MLP) -> list[float]:
    return [_rms(m.weight.detach()) for m in model.modules() if isinstance(m, nn.Linear)]


def predicted(
    activation: str, stds: list[float], x: torch.Tensor, num_classes: int, scores_gradient: float
) -> dict:
    """Predict spread between images, std and gradient of each hidden layer, for Gaussian z.

    With q = E[z²] and d = E[(z − z′)²]/2 for two images,

        qₗ₊₁ = σ² n E[f(z)²],   dₗ₊₁ = σ² n E[(f(z) − f(z′))²]/2,   z, z′ ~ N(0, qₗ),
        gₗ² = σ² m E[f′(z)²] gₗ₊₁²,   m units in the next layer.

    Source: Poole et al. 2016, arXiv:1606.05340, eq. 3 and 5; Schoenholz et al. 2017,
    arXiv:1611.01232, eq. 10.
    """
    f, derivative = FUNCTIONS[activation], DERIVATIVES[activation]
    flat = x.flatten(1)
    square = flat.square().sum(1).mean().item()
    q = stds[0] ** 2 * square
    d = stds[0] ** 2 * (square - flat.mean(0).square().sum().item())
    made = {"q": [], "std": [], "spread": []}
    slopes = []
    for std in stds[1:]:
        second = _expected(lambda z: f(z).square(), q)
        difference = _expected_difference(f, q, d)
        made["q"].append(q)
        made["std"].append(math.sqrt(max(second - _expected(f, q) ** 2, 0)))
        made["spread"].append(math.sqrt(difference))
        slopes.append(_expected(lambda z: derivative(z).square(), q))
        q, d = std**2 * WIDTH * second, std**2 * WIDTH * difference
    widths = [WIDTH] * (len(slopes) - 1) + [num_classes]
    gradient, g = [], scores_gradient
    for std, width, slope in reversed(list(zip(stds[1:], widths, slopes, strict=True))):
        g *= math.sqrt(std**2 * width * slope)
        gradient.insert(0, g)
    return {**made, "gradient": gradient}


def _normal(points: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in ±8 and weights of the trapezoid rule for an expectation over N(0, 1)."""
    t = torch.linspace(-8, 8, points, dtype=torch.float64)
    weights = torch.exp(-t.square() / 2)
    return t, weights / weights.sum()


def _expected(g, q: float) -> float:
    """E[g(z)], z ~ N(0, q)."""
    t, weights = _normal(8001)
    return (weights @ g(math.sqrt(q) * t)).item()


def _expected_difference(f, q: float, d: float) -> float:
    """E[(f(z) − f(z′))²]/2, z = a + b, z′ = a − b, a ~ N(0, q − d/2), b ~ N(0, d/2)."""
    t, weights = _normal(401)
    a, b = math.sqrt(max(q - d / 2, 0)) * t[:, None], math.sqrt(d / 2) * t
    return (weights @ (f(a + b) - f(a - b)).square() @ weights).item() / 2


def _histograms(activation: str, x: torch.Tensor, y: torch.Tensor, k: int, seed: int) -> dict:
    """Histograms of activations and gradients, in thousandths, for each multiple and layer."""
    low, high = RANGES[activation]
    edges = torch.linspace(low, high, BINS + 1, dtype=torch.float64)
    decades = torch.linspace(*GRADIENT_DECADES, BINS + 1, dtype=torch.float64)
    settings = []
    for multiple in MULTIPLES:
        model = untrained(activation, ADVISED[activation], x, k, seed, multiple)
        p = passed(model, x, y)
        expected = predicted(activation, _stds(model), x, k, _rms(p.scores_gradient))
        of_units = [g.abs().clamp(min=1e-300).log10() for g in p.gradient]
        settings.append(
            {
                "multiple": multiple,
                "std": [h.std().item() for h in p.h],
                "predicted_std": expected["std"],
                "flat": _flat(activation, p),
                "gradient": [_rms(g) for g in p.gradient],
                "activations": [_thousandths(h, edges) for h in p.h],
                "predicted": [_predicted_bins(activation, q, edges) for q in expected["q"]],
                "gradients": [_thousandths(g, decades) for g in of_units],
            }
        )
    return {"range": [low, high], "settings": settings}


def _thousandths(values: torch.Tensor, edges: torch.Tensor) -> list[int]:
    """Histogram in thousandths; values beyond the edges count in the first or last bin."""
    inside = values.flatten().clamp(edges[0].item(), edges[-1].item())
    counts = torch.histogram(inside, edges).hist
    return (1000 * counts / len(inside)).round().int().tolist()


def _predicted_bins(activation: str, q: float, edges: torch.Tensor) -> list[int]:
    inverse = {"sigmoid": torch.logit, "tanh": torch.atanh, "relu": lambda h: h}[activation]
    below = torch.special.ndtr(inverse(edges) / math.sqrt(q))
    below[0], below[-1] = 0, 1
    return (1000 * below.diff()).round().int().tolist()


def _trainings(lab: Lab) -> dict:
    """Short trainings from each scheme; only the full budget has several seeds and rates."""
    seeds, rates = lab.seeds(lab.pick(1, 3)), lab.pick((0.01,), (0.0003, 0.003, 0.03, 0.3))
    hidden = ",".join([str(WIDTH)] * DEPTH)
    common = ["model=mlp", f"model.hidden=[{hidden}]", "augment=none"]
    common += lab.length(lab.pick(4_500, 22_500))
    trainings = {activation: {} for activation in ADVISED}
    for activation, of in trainings.items():
        for scheme in SCHEMES:
            net = [*common, f"model.activation={activation}", f"model.init={scheme}"]
            tuned = lab.tune(net, [(f"optim.lr={rate}",) for rate in rates], seeds)
            of[scheme] = {
                "rate": rates[tuned.best],
                "at_edge": tuned.at_edge,
                "accuracy": [run.accuracy for run in tuned.runs],
                "diverged": sum(run.diverged for run in tuned.runs),
            }
    return {"seeds": seeds, "rates": list(rates), "schemes": trainings}


def judge(m: dict) -> list[Finding]:
    """Compare layers and schemes in powers of ten, for each seed; −2 counts as vanished."""
    schemes = m["schemes"]
    just_right = [
        Finding(
            f"just right, {SCHEMES[ADVISED[activation]]} with {NAMES[activation]}: change of "
            "spread or gradient, whichever is larger, between the first and tenth layer, up or "
            "down, in powers of ten (1: tenfold)",
            _change(schemes[activation][ADVISED[activation]]),
            at_most=1,
        )
        for activation in ("sigmoid", "relu")
    ]
    factor = Finding(
        "ReLU without He's factor 2 in the variance: rms activation of the tenth layer over the "
        "first, as a power of ten (9 layers that halve the square predict −1.35)",
        _decades(m["relu_without_factor"]),
        at_most=-1,
    )
    # The sum of 100 ReLU units' squares has a relative deviation of √(5/100); over ten layers the
    # rms has √(10 · 0.05)/2, which is 0.15 powers of ten. The largest should be within three times.
    predicted_well = Finding(
        "measured over predicted spread or gradient, up or down, in powers of ten, the largest of "
        "all layers, schemes and activations (0.5: three times the random deviation of 100 units "
        "over ten layers)",
        _gaps(schemes),
        at_most=0.5,
    )
    found = [*_too_small(m), *_too_big(m), *just_right, factor, predicted_well]
    return found + _trained(m)


def _too_small(m: dict) -> list[Finding]:
    schemes = m["schemes"]
    return [
        Finding(
            "too small: spread of the activations between images in the tenth layer over the "
            "first, as a power of ten, the largest of the three activations (−2: a hundredth is "
            "left; −16, float64's resolution, is the least that is counted)",
            _worst([_decades(of["small"]["spread"]) for of in schemes.values()]),
            at_most=-2,
        ),
        Finding(
            "too small: gradient of the first layer over that of the advised scheme, as a power of "
            "ten, the largest of the three activations",
            _worst([_against_advised(m, activation, "small") for activation in schemes]),
            at_most=-2,
        ),
    ]


def _too_big(m: dict) -> list[Finding]:
    schemes = m["schemes"]
    saturated = [
        Finding(
            f"too big: share of {activation} units, in all layers, whose derivative is below "
            f"{FLAT} (saturated: most of them)",
            [100 * fmean(flat) for flat in schemes[activation]["large"]["flat"]],
            at_least=50,
            unit="%",
        )
        for activation in ("sigmoid", "tanh")
    ]
    gradients = [
        Finding(
            "too big (“gradients 0”): gradient of the first layer over that of the advised scheme, "
            f"{NAMES[activation]}, as a power of ten (above 0 it is larger)",
            _against_advised(m, activation, "large"),
            at_most=-2,
        )
        for activation in schemes
    ]
    return saturated + gradients


def _trained(m: dict) -> list[Finding]:
    """No findings with the quick budget's single seed; the table shows its runs."""
    trainings = m["trainings"]["schemes"]
    if len(m["trainings"]["seeds"]) < 3:
        return []
    least = max(1, resolution(m["tested"]))  # more than luck, and enough to be worth the advice
    found = []
    for activation, of in trainings.items():
        triples = zip(
            *(of[s]["accuracy"] for s in (ADVISED[activation], "small", "large")), strict=True
        )
        found.append(
            Finding(
                f"test accuracy of ten layers of {NAMES[activation]} from "
                f"{SCHEMES[ADVISED[activation]]} minus the best of too small, too big and chance "
                f"({least:.2g} points: more than luck on {m['tested']:,} test images, and enough "
                "to be worth the advice)",
                [100 * (right - max(*wrong, m["chance"])) for right, *wrong in triples],
                at_least=least,
                unit="points",
            )
        )
    return found


def _ratio_decades(value: float, whole: float) -> float:
    return math.log10(max(value, REST * whole, 1e-300) / max(whole, 1e-300))


def _decades(of_seeds: list[list[float]]) -> list[float]:
    """log₁₀ of the last over the first layer, for each seed."""
    return [_ratio_decades(layers[-1], layers[0]) for layers in of_seeds]


def _against_advised(m: dict, activation: str, scheme: str) -> list[float]:
    of = m["schemes"][activation]
    pairs = zip(of[scheme]["gradient"], of[ADVISED[activation]]["gradient"], strict=True)
    return [_ratio_decades(tested[0], advised[0]) for tested, advised in pairs]


def _change(of: dict) -> list[float]:
    pairs = zip(_decades(of["spread"]), _decades(of["gradient"]), strict=True)
    return [max(map(abs, pair)) for pair in pairs]


def _worst(of_activations: list[list[float]]) -> list[float]:
    return [max(values) for values in zip(*of_activations, strict=True)]


def _gaps(schemes: dict) -> list[float]:
    """Largest |log₁₀ measured/predicted| of all schemes and layers, for each seed."""

    def gap(measured: float, expected: float) -> float:
        return abs(math.log10(max(measured, FLOOR) / max(expected, FLOOR)))

    largest = [
        [
            max(map(gap, layers, of["predicted"][key]))
            for layers in of[key]  # of each seed
        ]
        for of_activation in schemes.values()
        for of in of_activation.values()
        for key in ("spread", "gradient")
    ]
    return _worst(largest)


def draw(m: dict) -> list[Item]:
    """Signal and gradient by layer with their prediction, the slider, and the trainings."""
    return [_by_layer(m), _widget(m), _table(m)]


def _by_layer(m: dict) -> Plot:
    schemes = m["schemes"]
    ends = "; ".join(
        f"{NAMES[a]} with {SCHEMES[s]} {fmean([o[-1] for o in schemes[a][s]['spread']]):.1e} in "
        "the tenth layer, gradient of the first "
        f"{fmean([o[0] for o in schemes[a][s]['gradient']]):.1e}"
        for a in schemes
        for s in (ADVISED[a], "large")
    )
    return Plot(
        _layers(schemes),
        alt="Spread of the activations between images and rms gradient of ten layers, measured "
        f"points and predicted lines, at most {max(_gaps(schemes)):.2f} powers of ten apart: "
        f"{ends}.",
        caption=f"Points: measured on {m['batch']} training images, {len(m['seeds'])} seeds. "
        "Lines: predicted layer by layer from the weights' std, starting from the images' mean "
        "square and differences, and backward from the measured gradient of the scores. Left: "
        "standard deviation of a unit's activation between images (for sigmoid, around one half). "
        "Right: rms of ∂L/∂z, which flows backward from layer 10 to layer 1. A curve that leaves "
        "the frame has vanished or exploded.",
    )


def _layers(schemes: dict) -> go.Figure:
    titles = [f"{NAMES[a]}: {what}" for a in schemes for what in ("spread", "gradient")]
    layers = list(range(1, DEPTH + 1))
    drawn = panels(
        len(schemes), 2, titles, vertical_spacing=0.09, horizontal_spacing=0.2, height=840
    )
    for row, of_activation in enumerate(schemes.values(), 1):
        for colour, (scheme, of) in enumerate(of_activation.items()):
            for col, key in ((1, "spread"), (2, "gradient")):
                name = SCHEMES[scheme]
                place = {"row": row, "col": col, "legendgroup": scheme, "showlegend": False}
                line = _drawable(of["predicted"][key])
                add_line(drawn, layers, line, name, colour, **place)
                place["showlegend"] = (row, col) == (1, 1)
                points = _drawable([v for of_seed in of[key] for v in of_seed])
                add_points(drawn, layers * len(of[key]), points, name, colour, 5, **place)
    drawn.update_yaxes(type="log", exponentformat="power", nticks=6)
    drawn.update_yaxes(range=[-8, 4], col=1)
    drawn.update_yaxes(range=[-12, 9], col=2)
    drawn.update_xaxes(dtick=3, tick0=1)
    drawn.update_xaxes(title="layer", row=len(schemes))
    return drawn


def _drawable(values: list[float]) -> list[float | None]:
    return [v if v > FLOOR else None for v in values]


def _widget(m: dict) -> Widget:
    data = {
        "names": NAMES,
        "schemes": {a: SCHEMES[s] for a, s in ADVISED.items()},
        "flat_names": {"sigmoid": "saturated", "tanh": "saturated", "relu": "zero"},
        "decades": list(GRADIENT_DECADES),
        "activations": m["histograms"],
    }
    return Widget(
        "init",
        data,
        alt="A slider over the initial scale and a choice of activation redraw the histograms of "
        "the activations, or of the gradients, of ten layers.",
        caption=f"Measured on {m['batch']} training images with seed {m['seeds'][0]}; weights are "
        "drawn by the advised scheme and multiplied by the chosen factor. Filled: measured; line: "
        "predicted. Each layer is scaled to its own height; the outermost bins include values "
        f"beyond them. Saturated: a derivative below {FLAT}.",
    )


def _table(m: dict) -> Table:
    rows = []
    for activation, of_schemes in m["schemes"].items():
        for scheme, of in of_schemes.items():
            trained = m["trainings"]["schemes"][activation][scheme]
            accuracies = ", ".join(f"{100 * a:.1f}" for a in trained["accuracy"])
            rows.append(
                [
                    NAMES[activation],
                    SCHEMES[scheme],
                    f"{of['std']:.2g}",
                    f"{100 * fmean([fmean(layers) for layers in of['flat']]):.0f} %",
                    f"{fmean([layers[0] for layers in of['gradient']]):.1e}",
                    f"{trained['rate']:g}" + "*" * trained["at_edge"],
                    accuracies + (" (diverged)" if trained["diverged"] else ""),
                ]
            )
    return Table(
        ["activation", "scheme", "std, layer 2", "flat", "gradient, layer 1", "rate", "test (%)"],
        rows,
        caption=f"Flat: share of derivatives below {FLAT}, all layers (for ReLU: zeros). Test "
        f"accuracy after a short training, {_tried(m['trainings'])}. Between layers of equal width "
        "Xavier and He have the same std, since both use the activation's gain; they differ in the "
        "first layer and in the scores.",
    )


def _tried(trainings: dict) -> str:
    """Seeds and learning rates, in words."""
    seeds, rates = trainings["seeds"], [f"{rate:g}" for rate in trainings["rates"]]
    text = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    if len(rates) == 1:
        return f"{text}, at learning rate {rates[0]} only, which may not suit every scheme"
    return (
        f"{text}, at the best of the learning rates {', '.join(rates)} by validation accuracy of "
        "the first seed (*: the smallest or largest, so a better one may lie beyond)"
    )


CLAIM = Claim(
    name="init",
    title="Weight initialisation",
    quote=[
        "Xavier (Sigmoid) / He initialization (ReLU)",
        "* Too small -> activations go zero, gradients also 0",
        "* Too big -> saturate, gradients 0",
        "* Just right",
    ],
    text="Ten hidden layers of 100 units, with sigmoid, tanh and ReLU, are initialised too small "
    "(std 0.001), too big (std 1), by Xavier and by He. Images pass through them before training. "
    "See how far apart two images still are in the last layer, how much of the gradient reaches "
    "the first layer, and whether saturated units stop it: each passes little back, but through "
    "large weights.",
    formulas=[
        r"\text{Xavier: } \sigma_w^2 = g^2 \frac{2}{n_{\text{in}} + n_{\text{out}}}",
        r"\text{He: } \sigma_w^2 = \frac{g^2}{n_{\text{in}}}, \quad g^2_{\text{ReLU}} = 2",
        r"q_{l+1} = \sigma_w^2 n \, \mathbb{E}[f(z)^2], \quad z \sim N(0, q_l)",
        r"\delta_l^2 = \sigma_w^2 n \, \mathbb{E}[f'(z)^2] \, \delta_{l+1}^2",
        r"\delta_l^2 = \mathbb{E}\left[(\partial L / \partial z_l)^2\right]",
    ],
    code=[initialize_, MLP, predicted],
    measure=measure,
    judge=judge,
    draw=draw,
)
