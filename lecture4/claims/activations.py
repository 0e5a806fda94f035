"""Activation functions: what reaches the first of ten layers, and what training makes of it."""

import math

import torch
from torch import nn

from lecture4 import ops
from lecture4.lab import Claim, Finding, Item, Lab, Plot, Run, Table, curves, figure
from lecture4.lab.drawing import COLOURS
from lecture4.models import MLP

DEPTH, WIDTH = 10, 100
IMAGES = 1000  # in the batch whose gradient is measured
SCHEMES = {"sigmoid": "xavier", "tanh": "xavier", "relu": "he"}
NAMES = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU"}


def measure(lab: Lab) -> dict:
    """Gradients before the first step; then each activation at the best rate of a sweep."""
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
    length = [f"trainer.max_epochs={epochs}", f"+trainer.limit_train_batches={share}"]
    steps = int(share * (len(data.train_index) // data.batch_size))
    return {
        "seeds": seeds,
        "batch": len(y),
        "gradients": gradients,
        "examples": [(epoch + 1) * steps * data.batch_size for epoch in range(epochs)],
        "chance": 1 / len(data.dataset.class_names),
        "trainings": {a: _trainings(lab, a, length, seeds, epochs) for a in SCHEMES},
    }


def gradient_norms(
    activation: str, x: torch.Tensor, y: torch.Tensor, num_classes: int, seed: int
) -> list[float]:
    """‖∂L/∂W‖ of each layer of an untrained MLP, from the first hidden layer to the scores."""
    torch.manual_seed(seed)
    model = MLP(x.shape[1:], num_classes, [WIDTH] * DEPTH, activation, init=SCHEMES[activation])
    ops.cross_entropy(model(x), y).backward()
    return [m.weight.grad.norm().item() for m in model.modules() if isinstance(m, nn.Linear)]


def _trainings(lab: Lab, activation: str, length: list[str], seeds: list[int], epochs: int) -> dict:
    """A sweep on the first seed, and the best of it, by validation accuracy, on all."""
    net = [
        "model=mlp",
        f"model.hidden=[{','.join([str(WIDTH)] * DEPTH)}]",
        f"model.activation={activation}",
        f"model.init={SCHEMES[activation]}",
        "augment=none",
        *length,
    ]
    rates = lab.pick(
        {"sgd": (0.01, 0.03)},
        {"sgd": (0.01, 0.03, 0.1), "adam": (0.001, 0.003)},
    )
    sweep = [(optim, rate) for optim, several in rates.items() for rate in several]
    tried = [lab.train(*net, *_step(*step), seed=seeds[0]) for step in sweep]
    best = max(range(len(sweep)), key=lambda i: _best_validation(tried[i]))
    runs = [tried[best]]
    runs += [lab.train(*net, *_step(*sweep[best]), seed=seed) for seed in seeds[1:]]
    return {
        "sweep": [
            {"optim": optim, "rate": rate, "validation": max(_best_validation(run), 0.0)}
            for (optim, rate), run in zip(sweep, tried, strict=True)
        ],
        "optim": sweep[best][0],
        "rate": sweep[best][1],
        "accuracy": [run.accuracy for run in runs],
        "validation": [_curve(run, epochs) for run in runs],
        "commands": [run.command for run in runs],
    }


def _step(optim: str, rate: float) -> list[str]:
    return [f"optim={optim}", f"optim.lr={rate}"]


def _best_validation(run: Run) -> float:
    return -1.0 if run.diverged else max(run.curve("val/accuracy"))


def _curve(run: Run, epochs: int) -> list[float]:
    reached = run.curve("val/accuracy")
    return reached + [run.accuracy] * (epochs - len(reached))  # chance, once it diverged


def judge(m: dict) -> list[Finding]:
    """Gradients between two hidden layers of equal shape; accuracies seed by seed."""

    def decades(activation: str) -> list[float]:
        norms = m["gradients"][activation]
        return [math.log10(max(of[1], 1e-300) / max(of[DEPTH - 1], 1e-300)) for of in norms]

    def ahead(activation: str) -> list[float]:
        pairs = zip(*(m["trainings"][a]["accuracy"] for a in ("relu", activation)), strict=True)
        return [100 * (relu - other) for relu, other in pairs]

    advice = (
        "(a point at least: twice the standard error of an accuracy on 10,000 images, and about "
        "what an advice must bring to be worth following)"
    )
    return [
        Finding(
            "sigmoid, before the first step: gradient norm of the second hidden layer over that of "
            "the tenth, as a power of ten (−2: a hundredth, so that the second would need a "
            "hundred times the steps)",
            decades("sigmoid"),
            at_most=-2,
        ),
        Finding(
            "ReLU, the same: the gradient comes through, neither a tenth nor tenfold",
            decades("relu"),
            at_least=-1,
            at_most=1,
        ),
        Finding(
            f"test accuracy of ReLU minus that of sigmoid, ten layers {advice}",
            ahead("sigmoid"),
            at_least=1,
            unit="%",
        ),
        Finding(
            f"test accuracy of ReLU minus that of tanh, ten layers {advice}",
            ahead("tanh"),
            at_least=1,
            unit="%",
        ),
    ]


def draw(m: dict) -> list[Item]:
    """Gradients by layer, training curves, and the rates that were tried."""
    return [_gradients(m), _curves(m), _sweep(m)]


def _gradients(m: dict) -> Plot:
    layers = list(range(1, DEPTH + 2))
    drawn = figure("layer", "gradient norm ‖∂L/∂W‖", log_y=True)
    for colour, (activation, of_seeds) in enumerate(m["gradients"].items()):
        curves(drawn, layers, _digits(of_seeds), NAMES[activation], colour, mode="lines+markers")
    drawn.update_xaxes(tickvals=layers[::2], ticktext=[*layers[:-2:2], "scores"], tickangle=0)
    drawn.update_yaxes(exponentformat="power")
    told = "; ".join(
        f"{NAMES[a]} {_mean(of_seeds, 1):.1e} in the second layer, {_mean(of_seeds, -2):.1e} in "
        f"the tenth"
        for a, of_seeds in m["gradients"].items()
    )
    return Plot(
        drawn,
        alt=f"Gradient norm of each layer before the first step: {told}.",
        caption=f"Mean of {len(m['seeds'])} seeds and their range, over {m['batch']:,} training "
        f"images. The gradient goes from right to left, and each sigmoid it passes multiplies it "
        f"by at most a quarter. Hidden layers 2 to 10 have the same shape, 100 × 100; the first "
        f"sees 3072 inputs, and its gradient is larger for that alone.",
    )


def _curves(m: dict) -> Plot:
    drawn = figure("training images seen", "validation accuracy (%)")
    for colour, (activation, of) in enumerate(m["trainings"].items()):
        values = [[round(100 * v, 2) for v in curve] for curve in of["validation"]]
        curves(drawn, m["examples"], values, NAMES[activation], colour, mode="lines+markers")
    drawn.add_hline(100 * m["chance"], line={"dash": "dot", "color": COLOURS[7]})
    drawn.update_yaxes(rangemode="tozero")
    told = "; ".join(
        f"{NAMES[a]} {100 * sum(of['accuracy']) / len(of['accuracy']):.1f} %"
        for a, of in m["trainings"].items()
    )
    return Plot(
        drawn,
        alt=f"Validation accuracy while training. Test accuracy at the end: {told}.",
        caption="Each activation at its own best rate, mean of the seeds and their range; dotted: "
        "chance.",
    )


def _sweep(m: dict) -> Table:
    steps = [(s["optim"], s["rate"]) for s in m["trainings"]["relu"]["sweep"]]
    rows = []
    for activation, of in m["trainings"].items():
        tried = [f"{100 * step['validation']:.1f}" for step in of["sweep"]]
        accuracies = ", ".join(f"{100 * a:.1f}" for a in of["accuracy"])
        rows.append([NAMES[activation], *tried, f"{of['optim']} {of['rate']:g}", accuracies])
    return Table(
        ["activation", *(f"{optim} {rate:g}" for optim, rate in steps), "best", "test, each seed"],
        rows,
        caption="Best validation accuracy (%) of the first seed at each optimizer and learning "
        "rate; then the best of them, and its test accuracy (%).",
    )


def _mean(of_seeds: list[list[float]], layer: int) -> float:
    return sum(of[layer] for of in of_seeds) / len(of_seeds)


def _digits(of_seeds: list[list[float]]) -> list[list[float]]:
    return [[float(f"{value:.4g}") for value in of] for of in of_seeds]


CLAIM = Claim(
    name="activations",
    title="Activation functions",
    quote="In practice: use ReLu, don't use sigmoid or tanh.",
    text="A net of ten hidden layers of 100 units, with sigmoid, tanh or ReLU between them, each "
    "drawn with the scheme that the lecture gives it: Xavier for sigmoid and tanh, He for ReLU. "
    "First the gradient of each layer is measured before any step; then the three nets are "
    "trained alike, each at the rate that serves it best. Look for a gradient that does not reach "
    "the first layers, and for a net that stays at chance.",
    formulas=[
        r"\sigma(z) = \frac{1}{1 + e^{-z}}",
        r"\sigma'(z) = \sigma(z) (1 - \sigma(z)) \le \frac{1}{4}",
        r"\tanh'(z) = 1 - \tanh^2(z) \le 1",
        r"\text{ReLU}(z) = \max(0, z)",
        r"\text{ReLU}'(z) \in \{0, 1\}",
        r"\frac{\partial L}{\partial z_l} = "
        r"f'(z_l) \odot W_{l+1}^T \frac{\partial L}{\partial z_{l+1}}",
    ],
    code=[ops.sigmoid, ops.tanh, ops.relu, MLP],
    measure=measure,
    judge=judge,
    draw=draw,
)
