"""Weight initialisation: signal and gradient through ten layers, by initial scale."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean as mean

from lecture4.byhand.init import initialize_
from lecture4.lesson.claims import propagation
from lecture4.lesson.claims.propagation import (
    DEPTH,
    FLAT,
    WIDTH,
    Histograms,
    Layers,
    through,
    untrained,
)
from lecture4.lesson.lab import (
    Comparison,
    Finding,
    Item,
    Lab,
    Plot,
    Table,
    Widget,
    add_line,
    add_points,
    better,
    panels,
)
from lecture4.models import MLP

TITLE = "Weight initialisation"
QUOTE = [
    "Xavier (Sigmoid) / He initialization (ReLU)",
    "* Too small -> activations go zero, gradients also 0",
    "* Too big -> saturate, gradients 0",
    "* Just right",
]
TEXT = (
    "Ten hidden layers of 100 units, with sigmoid, tanh and ReLU, are initialised too small "
    "(std 0.001), too big (std 1), by Xavier and by He. Images pass through them before training. "
    "See how far apart two images still are in the last layer, how much of the gradient reaches "
    "the first layer, and whether saturated units stop it: each passes little back, but through "
    "large weights."
)
FORMULAS = [
    r"\text{Xavier: } \sigma_w^2 = g^2 \frac{2}{n_{\text{in}} + n_{\text{out}}}",
    r"\text{He: } \sigma_w^2 = \frac{g^2}{n_{\text{in}}}, \quad g^2_{\text{ReLU}} = 2",
    r"q_{l+1} = \sigma_w^2 n \, \mathbb{E}[f(z)^2], \quad z \sim N(0, q_l)",
    r"\delta_l^2 = \sigma_w^2 n \, \mathbb{E}[f'(z)^2] \, \delta_{l+1}^2",
    r"\delta_l^2 = \mathbb{E}\left[(\partial L / \partial z_l)^2\right]",
]
CODE = [initialize_, MLP, propagation.predicted]
IMAGES = 500
SCHEMES = {"small": "too small", "xavier": "Xavier", "he": "He", "large": "too big"}
ADVISED = {"sigmoid": "xavier", "tanh": "xavier", "relu": "he"}
NAMES = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU"}
REST = 1e-16  # smaller ratios count as this, about float64's resolution
FLOOR = 1e-15  # smaller values are not drawn, and count as this when compared with predictions
MULTIPLES = [10 ** (k / 4 - 2) for k in range(13)]  # of the advised std, for the slider
POWERS = "powers of ten"


@dataclass
class Measured:
    """Untrained layers by activation and scheme; ``halved``: ReLU, with half of He's variance."""

    seeds: list[int]
    layers: dict[str, dict[str, Layers]]
    halved: Layers
    histograms: dict[str, list[Histograms]]
    trained: Comparison


def measure(lab: Lab) -> Measured:
    """Forward and backward passes of untrained nets, their prediction, and short trainings."""
    lab.note("activations and gradients of ten layers before the first step")
    classifier, data = lab.assemble("model=mlp")
    index, k = data.train_index[:IMAGES], len(data.dataset.class_names)
    x = classifier.preprocess(data.dataset.train_inputs[index]).double()
    y = data.dataset.train_labels[index]
    seeds = lab.seeds(lab.pick(3, 5))
    layers = {
        a: {s: through([untrained(a, s, x, k, seed) for seed in seeds], x, y) for s in SCHEMES}
        for a in ADVISED
    }
    halved = through([untrained("relu", "he", x, k, s, math.sqrt(0.5)) for s in seeds], x, y)
    sliders = {
        a: [propagation.histograms(untrained(a, s, x, k, seeds[0], c), c, x, y) for c in MULTIPLES]
        for a, s in ADVISED.items()
    }
    return Measured(seeds, layers, halved, sliders, train(lab))


def train(lab: Lab) -> Comparison:
    """Short trainings from each scheme; only the full budget has several seeds and rates."""
    hidden = f"model.hidden=[{','.join([str(WIDTH)] * DEPTH)}]"
    nets = {
        net(a, s): [f"model.activation={a}", f"model.init={s}"] for a in ADVISED for s in SCHEMES
    }
    return lab.compare(
        ["model=mlp", hidden, "augment=none", *lab.length(lab.pick(4_500, 22_500))],
        nets,
        lab.pick((0.01,), (0.0003, 0.003, 0.03, 0.3)),
        lab.seeds(lab.pick(1, 3)),
    )


def net(activation: str, scheme: str) -> str:
    """A net in words."""
    return f"{NAMES[activation]}, {SCHEMES[scheme]}"


def judge(m: Measured) -> Iterator[Finding]:
    """Compare layers and schemes in powers of ten; trainings only if there are three seeds."""
    gone = {"at_most": -2, "unit": POWERS, "why": "at most a hundredth is left"}
    advised = {activation: m.layers[activation][scheme] for activation, scheme in ADVISED.items()}
    small = [of["small"] for of in m.layers.values()]
    yield Finding(
        "too small: activations",
        "too small: spread of activations in the tenth layer, over the first",
        largest(log_ratios(of.spread[-1], of.spread[0]) for of in small),
        definition="Standard deviation of a unit's activation between images; the largest of the "
        "three activation functions. −16, float64's resolution, is the least that counts.",
        **gone,
    )
    yield Finding(
        "too small: gradient",
        "too small: gradient of the first layer, over the advised scheme's",
        largest(map(first_gradients, small, advised.values())),
        definition="Root mean square of ∂L/∂z; the largest of the three activation functions.",
        **gone,
    )
    for activation in ("sigmoid", "tanh"):
        yield Finding(
            f"too big: {activation} saturates",
            f"too big: share of {activation} units whose derivative is below {FLAT}",
            [100 * mean(seed) for seed in zip(*m.layers[activation]["large"].flat, strict=True)],
            at_least=50,
            unit="%",
            why="most units, all layers together",
        )
    for activation, of in advised.items():
        yield Finding(
            f"too big: gradient of {NAMES[activation]}",
            f"{NAMES[activation]}, too big: gradient of the first layer, over the advised scheme's",
            first_gradients(m.layers[activation]["large"], of),
            definition="Root mean square of ∂L/∂z. Above 0 it is larger, where the lecture has 0.",
            **gone,
        )
    for activation in ("sigmoid", "relu"):
        name, of = net(activation, ADVISED[activation]), advised[activation]
        changes = [log_ratios(layers[-1], layers[0]) for layers in (of.spread, of.gradient)]
        yield Finding(
            f"just right: {name}",
            f"{name}: change of spread or gradient between the first and tenth layer",
            largest([abs(change) for change in seeds] for seeds in changes),
            at_most=1,
            unit=POWERS,
            why="at most tenfold, up or down",
            definition="Whichever of the two changes more.",
        )
    yield Finding(
        "He's factor 2",
        "ReLU without He's factor 2: activation in the tenth layer, over the first",
        log_ratios(m.halved.rms[-1], m.halved.rms[0]),
        at_most=-1,
        unit=POWERS,
        why="nine layers that halve the square predict −1.35",
        definition="Root mean square of h, with half of He's variance.",
    )
    yield Finding(
        "prediction",
        "largest difference between measured and predicted spread or gradient",
        gaps(m),
        at_most=0.5,
        unit=POWERS,
        why="three times the random deviation of ten layers of 100 units",
        definition="Of all layers, schemes and activations, up or down. The sum of 100 ReLU units' "
        "squares has a relative deviation of √(5/100); over ten layers the rms has √(10 · 0.05)/2, "
        "which is 0.15 powers of ten.",
    )
    if len(m.trained.seeds) >= 3:
        yield from judge_trained(m.trained)


def judge_trained(trained: Comparison) -> Iterator[Finding]:
    """Compare the advised scheme with the best of the extremes and guessing."""
    for activation, scheme in ADVISED.items():
        advised, small, large = (
            trained.accuracy(net(activation, s)) for s in (scheme, "small", "large")
        )
        others = largest([small, large, [trained.chance] * len(trained.seeds)])
        than = "the best of too small, too big, guessing"
        yield better(net(activation, scheme), advised, than, others, trained.tested)


def log_ratios(values: Iterable[float], wholes: Iterable[float]) -> list[float]:
    """log₁₀ of value/whole for each seed."""
    pairs = zip(values, wholes, strict=True)
    return [math.log10(max(v, REST * w, 1e-300) / max(w, 1e-300)) for v, w in pairs]


def first_gradients(layers: Layers, over: Layers) -> list[float]:
    """log₁₀ of the first layer's gradient over another scheme's, for each seed."""
    return log_ratios(layers.gradient[0], over.gradient[0])


def gaps(m: Measured) -> list[float]:
    """Largest |log₁₀ measured/predicted| of all layers, for each seed."""
    return largest(
        [abs(math.log10(max(value, FLOOR) / max(expected, FLOOR))) for value in seeds]
        for schemes in m.layers.values()
        for of in schemes.values()
        for points, line in of.panels
        for seeds, expected in zip(points, line, strict=True)
    )


def largest(several: Iterable[Sequence[float]]) -> list[float]:
    """The largest for each seed."""
    return [max(values) for values in zip(*several, strict=True)]


def draw(m: Measured) -> Iterator[Item]:
    """Signal and gradient by layer with their prediction, the slider, and the trainings."""
    yield _layers(m)
    yield _slider(m)
    yield _table(m)


def _layers(m: Measured) -> Plot:
    titles = [f"{NAMES[a]}: {what}" for a in m.layers for what in ("spread", "gradient")]
    drawn = panels(3, 2, titles, vertical_spacing=0.09, horizontal_spacing=0.2, height=840)
    layers, n = list(range(1, DEPTH + 1)), len(m.seeds)
    for row, schemes in enumerate(m.layers.values(), 1):
        for colour, (scheme, of) in enumerate(schemes.items()):
            for col, (points, line) in enumerate(of.panels, 1):
                options = {"row": row, "col": col, "legendgroup": scheme, "showlegend": False}
                add_line(drawn, layers, _drawable(line), SCHEMES[scheme], colour, **options)
                options["showlegend"] = (row, col) == (1, 1)
                x = [layer for layer in layers for _ in m.seeds]
                y = _drawable([value for seeds in points for value in seeds])
                add_points(drawn, x, y, SCHEMES[scheme], colour, 5, **options)
    drawn.update_yaxes(type="log", exponentformat="power", nticks=6)
    drawn.update_yaxes(range=[-8, 4], col=1)
    drawn.update_yaxes(range=[-12, 9], col=2)
    drawn.update_xaxes(dtick=3, tick0=1)
    drawn.update_xaxes(title="layer", row=3)
    return Plot(
        drawn,
        "Spread of the activations between images, and gradient, of ten layers: points and "
        f"predicted lines are at most {max(gaps(m)):.2f} powers of ten apart.",
        f"Points: measured on {IMAGES} training images, n = {n} seeds. Lines: predicted from the "
        "weights' std, forward from the images and backward from the gradient of the scores. "
        "Spread: standard deviation of a unit's activation between images. Gradient: root mean "
        "square of ∂L/∂z. A curve that leaves the frame has vanished or exploded.",
    )


def _drawable(values: Sequence[float]) -> list[float | None]:
    return [v if v > FLOOR else None for v in values]


def _slider(m: Measured) -> Widget:
    data = {
        "names": NAMES,
        "schemes": {a: SCHEMES[s] for a, s in ADVISED.items()},
        "flat_names": {"sigmoid": "saturated", "tanh": "saturated", "relu": "zero"},
        "decades": propagation.GRADIENT_DECADES,
        "activations": {
            a: {"range": propagation.RANGES[a], "settings": list(map(asdict, settings))}
            for a, settings in m.histograms.items()
        },
    }
    return Widget(
        "init",
        data,
        "A slider over the initial scale and a choice of activation redraw the histograms of the "
        "activations, or of the gradients, of ten layers.",
        f"Measured on {IMAGES} training images, seed {m.seeds[0]}, with the advised scheme's "
        "weights times the chosen factor. Filled: measured; line: predicted. Each layer has its "
        "own height; the outermost bins include values beyond them. Saturated: a derivative below "
        f"{FLAT}.",
    )


def _table(m: Measured) -> Table:
    return Table(
        ["activation", "scheme", "std, layer 2", "flat", "gradient, layer 1", "rate", "test (%)"],
        [
            [
                NAMES[activation],
                SCHEMES[scheme],
                f"{of.std:.2g}",
                f"{100 * mean(map(mean, of.flat)):.0f} %",
                f"{mean(of.gradient[0]):.1e}",
                *m.trained.row(net(activation, scheme)),
            ]
            for activation, schemes in m.layers.items()
            for scheme, of in schemes.items()
        ],
        f"Flat: share of derivatives below {FLAT}, all layers (for ReLU: zeros). Test accuracy: "
        f"after a short training, n = {len(m.trained.seeds)}. {m.trained.note} Between layers of "
        "equal width Xavier and He have the same std, since both use the activation's gain; they "
        "differ in the first layer and in the scores.",
    )
