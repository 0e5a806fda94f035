"""Activation functions: the gradient that reaches the first of ten layers, and training."""

import math

import torch
from torch import nn

from lecture4.byhand import functional as F
from lecture4.lesson.lab.finding import Claim, Finding, above_chance, paired, resolution
from lecture4.lesson.lab.items import Item, Plot, Table
from lecture4.lesson.lab.plots import add_chance, add_curves, figure, mean_curve, spread
from lecture4.lesson.lab.trainings import Lab, Run
from lecture4.models import MLP

DEPTH, WIDTH = 10, 100
IMAGES = 1000  # in the batch whose gradient is measured
SCHEMES = {"sigmoid": "xavier", "tanh": "xavier", "relu": "he"}
NAMES = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU"}


def measure(lab: Lab) -> dict:
    """Gradients before training; then train each activation at the best of several rates."""
    lab.note("gradients of ten layers before the first step")
    classifier, data = lab.assemble("model=mlp")
    seeds, index = lab.seeds(3), data.train_index[:IMAGES]
    x = classifier.preprocess(data.dataset.train_inputs[index])
    y = data.dataset.train_labels[index]
    gradients = {
        activation: [
            gradient_norms(activation, x, y, len(data.dataset.class_names), seed) for seed in seeds
        ]
        for activation in SCHEMES
    }
    epochs, images = lab.pick((3, 4_500), (4, 22_500))
    share = round(min(1, images / len(data.train_index)), 3)
    length = [f"trainer.max_epochs={epochs}", f"data.train_share={share}"]
    each = lab.images_an_epoch("model=mlp", *length)
    return {
        "seeds": seeds,
        "batch": len(y),
        "gradients": gradients,
        "examples": [(epoch + 1) * each for epoch in range(epochs)],
        "chance": 1 / len(data.dataset.class_names),
        "tested": len(data.dataset.test_labels),
        "trainings": {a: _trainings(lab, a, length, seeds, epochs) for a in SCHEMES},
    }


def gradient_norms(
    activation: str, x: torch.Tensor, y: torch.Tensor, num_classes: int, seed: int
) -> list[float]:
    """‖∂L/∂W‖ of each layer of an untrained MLP, from the first hidden layer to the scores."""
    torch.manual_seed(seed)
    model = MLP(x.shape[1:], num_classes, [WIDTH] * DEPTH, activation, init=SCHEMES[activation])
    F.cross_entropy(model(x), y).backward()
    return [m.weight.grad.norm().item() for m in model.modules() if isinstance(m, nn.Linear)]


def _trainings(lab: Lab, activation: str, length: list[str], seeds: list[int], epochs: int) -> dict:
    """Train with each optimizer and rate on the first seed, with the best on all seeds."""
    net = [
        "model=mlp",
        f"model.hidden=[{','.join([str(WIDTH)] * DEPTH)}]",
        f"model.activation={activation}",
        f"model.init={SCHEMES[activation]}",
        "augment=none",
        *length,
    ]
    rates = lab.pick(
        {"sgd": (0.01, 0.03, 0.1)}, {"sgd": (0.01, 0.03, 0.1), "adam": (0.001, 0.003, 0.01)}
    )
    steps = [(optim, rate) for optim, several in rates.items() for rate in several]
    tuned = lab.tune(net, [(f"optim={optim}", f"optim.lr={rate}") for optim, rate in steps], seeds)
    optim, rate = steps[tuned.best]
    return {
        "sweep": [
            {"optim": optim, "rate": rate, "validation": validation}
            for (optim, rate), validation in zip(steps, tuned.validation, strict=True)
        ],
        "optim": optim,
        "rate": rate,
        "at_edge": rate in (rates[optim][0], rates[optim][-1]),
        "accuracy": [run.accuracy for run in tuned.runs],
        "validation": [_curve(run, epochs) for run in tuned.runs],
    }


def _curve(run: Run, epochs: int) -> list[float]:
    reached = run.curve("val/accuracy")
    return reached + [run.accuracy] * (epochs - len(reached))  # chance after it diverged


def judge(m: dict) -> list[Finding]:
    """Compare gradients of two hidden layers of equal shape, and accuracies seed by seed."""
    return [
        Finding(
            "sigmoid, before training: gradient norm of the second hidden layer over the tenth's, "
            "as a power of ten (−2: a hundredth, so the second layer would need 100 times as many "
            "steps)",
            _decades(m["gradients"]["sigmoid"]),
            at_most=-2,
        ),
        Finding(
            "ReLU, the same (from −1 to 1: the two differ by at most a factor of ten)",
            _decades(m["gradients"]["relu"]),
            at_least=-1,
            at_most=1,
        ),
        *_accurate(m),
    ]


def _decades(of_seeds: list[list[float]]) -> list[float]:
    return [math.log10(max(of[1], 1e-300) / max(of[DEPTH - 1], 1e-300)) for of in of_seeds]


def _accurate(m: dict) -> list[Finding]:
    accuracy = {a: of["accuracy"] for a, of in m["trainings"].items()}
    least = max(1, resolution(m["tested"]))  # more than luck, and enough to be worth the advice
    return [
        above_chance("of ReLU, ten layers,", accuracy["relu"], m["chance"], m["tested"]),
        *(
            Finding(
                f"test accuracy of ReLU minus {NAMES[other]}, ten layers ({least:.2g} points: more "
                "than luck, and enough to be worth the advice)",
                paired(accuracy["relu"], accuracy[other]),
                at_least=least,
                unit="points",
            )
            for other in ("sigmoid", "tanh")
        ),
    ]


def draw(m: dict) -> list[Item]:
    """Gradients by layer, training curves, and the rates tried."""
    return [_gradients(m), _curves(m), _sweep(m)]


def _gradients(m: dict) -> Plot:
    layers = list(range(1, DEPTH + 2))
    drawn = figure("layer", "gradient norm ‖∂L/∂W‖", log_y=True)
    for colour, (activation, of_seeds) in enumerate(m["gradients"].items()):
        add_curves(drawn, layers, of_seeds, NAMES[activation], colour, mode="lines+markers")
    drawn.update_xaxes(tickvals=layers[::2], ticktext=[*layers[:-2:2], "scores"], tickangle=0)
    drawn.update_yaxes(exponentformat="power")
    norms = "; ".join(
        f"{NAMES[a]} {mean_curve(of_seeds)[1]:.1e} in the second layer, "
        f"{mean_curve(of_seeds)[-2]:.1e} in the tenth"
        for a, of_seeds in m["gradients"].items()
    )
    return Plot(
        drawn,
        alt=f"Gradient norm of each layer before training: {norms}.",
        caption=f"Mean of {len(m['seeds'])} seeds and their range, over {m['batch']:,} training "
        "images. The gradient flows from right to left, and each sigmoid multiplies it by at most "
        f"a quarter. Hidden layers 2 to 10 have the same shape, {WIDTH} × {WIDTH}, so their norms "
        "can be compared; the first has more weights, the scores have fewer.",
    )


def _curves(m: dict) -> Plot:
    drawn = figure("training images seen", "validation accuracy (%)")
    for colour, (activation, of) in enumerate(m["trainings"].items()):
        values = [[100 * v for v in curve] for curve in of["validation"]]
        add_curves(drawn, m["examples"], values, NAMES[activation], colour, mode="lines+markers")
    add_chance(drawn, 100 * m["chance"])
    drawn.update_yaxes(rangemode="tozero")
    accuracies = "; ".join(
        f"{NAMES[a]} {spread([100 * v for v in of['accuracy']])} %"
        for a, of in m["trainings"].items()
    )
    return Plot(
        drawn,
        alt=f"Validation accuracy while training. Test accuracy, mean and range: {accuracies}.",
        caption="Each activation with the best of the optimizers and rates in the table below: "
        "mean and range of the seeds.",
    )


def _sweep(m: dict) -> Table:
    steps = [(s["optim"], s["rate"]) for s in m["trainings"]["relu"]["sweep"]]
    rows = []
    for activation, of in m["trainings"].items():
        tried = [f"{100 * step['validation']:.1f}" for step in of["sweep"]]
        accuracies = ", ".join(f"{100 * a:.1f}" for a in of["accuracy"])
        best = f"{of['optim']} {of['rate']:g}" + "*" * of["at_edge"]
        rows.append([NAMES[activation], *tried, best, accuracies])
    return Table(
        ["activation", *(f"{optim} {rate:g}" for optim, rate in steps), "best", "test, each seed"],
        rows,
        caption="Best validation accuracy (%) of the first seed with each optimizer and learning "
        "rate; then the best setting, and its test accuracy (%). *: the smallest or largest of "
        "that optimizer's rates, so a better one may lie beyond. A training that diverges counts "
        "as chance.",
    )


CLAIM = Claim(
    name="activations",
    title="Activation functions",
    quote=["In practice: use ReLu, don't use sigmoid or tanh."],
    text="A net of ten hidden layers of 100 units with sigmoid, tanh or ReLU, each initialised as "
    "the lecture advises: Xavier for sigmoid and tanh, He for ReLU. The gradient of each layer is "
    "measured before training; then the three nets are trained alike, each at the best of the "
    "rates tried. See whether the gradient reaches the first layers, and whether each net exceeds "
    "chance.",
    formulas=[
        r"\sigma(z) = \frac{1}{1 + e^{-z}}",
        r"\sigma'(z) = \sigma(z) (1 - \sigma(z)) \le \frac{1}{4}",
        r"\tanh'(z) = 1 - \tanh^2(z) \le 1",
        r"\text{ReLU}(z) = \max(0, z)",
        r"\text{ReLU}'(z) \in \{0, 1\}",
        r"\frac{\partial L}{\partial z_l} = "
        r"f'(z_l) \odot W_{l+1}^T \frac{\partial L}{\partial z_{l+1}}",
    ],
    code=[F.sigmoid, F.tanh, F.relu, MLP],
    measure=measure,
    judge=judge,
    draw=draw,
)
