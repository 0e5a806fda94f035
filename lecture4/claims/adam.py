"""Adam against SGD: see the claim's text below."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from plotly.subplots import make_subplots
from torch import nn

from lecture4 import mistakes, optim
from lecture4.lab import Claim, Finding, Item, Lab, Plot, Table, Widget, curves, figure
from lecture4.lab.drawing import COLOURS
from lecture4.models import MLP
from lecture4.randomness import generator

TITLES = {"sgd": "SGD, momentum 0.9", "adam": "Adam"}
OPTIMIZERS = {  # as conf/optim has them, but for weight decay
    "sgd": partial(optim.SGD, momentum=0.9, nesterov=True),
    "adam": partial(optim.Adam, betas=(0.9, 0.999)),
}
BATCH = 128
NEAR = 3  # percent points below its own best: what an optimizer's range of rates may lose
TWICE = math.log10(2)  # decades; less than that, nobody who doubles a rate to try it would notice
NO_WORSE = 1  # percent point that Adam may lack at its best rate
SURFACE = {"curvatures": [1.0, 25.0], "start": [-4.0, 1.5], "steps": 100}


def measure(lab: Lab) -> dict:
    """Sweep the rate of each optimizer; then Adam's first steps with and without correction."""
    seeds, steps = lab.seeds(lab.pick(3, 5)), lab.pick(80, 500)
    rates = {
        "sgd": _decades(*lab.pick((-3.5, 0.0), (-4.0, 0.5))),
        "adam": _decades(*lab.pick((-5.0, -1.5), (-5.5, -1.0))),
    }
    task = _Task(lab)
    sweep = {}
    for name, make in OPTIMIZERS.items():
        rows = []
        for rate in rates[name]:
            lab.note(f"{TITLES[name]}, η = {rate:.2g}")
            rows.append([task.accuracies(partial(make, lr=rate), steps, seed) for seed in seeds])
        val, test = ([[runs[s][i] for runs in rows] for s in range(len(seeds))] for i in (0, 1))
        sweep[name] = {"rates": rates[name], "val": val, "test": test}
    rate = best_rate(sweep["adam"])
    lab.note("the first steps of Adam")
    first = {"rate": rate, "steps": lab.pick(60, 100)}
    for key, plant in (("with", nullcontext), ("without", mistakes.adam_without_bias_correction)):
        with plant():
            make = partial(OPTIMIZERS["adam"], lr=rate)
            first[key] = [task.losses(make, first["steps"], seed)[0] for seed in seeds]
    return {
        "seeds": seeds,
        "steps": steps,
        "batch": BATCH,
        "classes": task.classes,
        "hidden": task.hidden,
        "val_images": len(task.val[1]),
        "test_images": len(task.test[1]),
        "sweep": sweep,
        "first": first,
        "ratio": step_ratio(first["steps"]),
    }


def _decades(low: float, high: float) -> list[float]:
    """Rates from 10^low to 10^high, √10 from one to the next."""
    return [10 ** (low + i / 2) for i in range(round(2 * (high - low)) + 1)]


class _Task:
    """What every optimizer is given: an MLP, standardised images, and their order."""

    hidden = [64]

    def __init__(self, lab: Lab):
        untrained, data = lab.assemble("model=softmax")
        self.preprocess = untrained.preprocess
        self.inputs, self.labels = data.dataset.train_inputs, data.dataset.train_labels
        self.index, held_out = data.train_index, data.val_index[:2000]
        self.shape, self.classes = data.dataset.input_shape, len(data.dataset.class_names)
        self.val = self.preprocess(self.inputs[held_out]), self.labels[held_out]
        tests = slice(5000)
        self.test = (
            self.preprocess(data.dataset.test_inputs[tests]),
            data.dataset.test_labels[tests],
        )

    def losses(
        self, optimizer: Callable[[Iterable], torch.optim.Optimizer], steps: int, seed: int
    ) -> tuple[list[float], nn.Module | None]:
        """Loss before each step, and the model; no model if a loss was no number."""
        torch.manual_seed(seed)
        model = MLP(self.shape, self.classes, self.hidden)
        update, losses = optimizer(model.parameters()), []
        pick = torch.randint(len(self.index), (steps, BATCH), generator=generator(seed))
        for index in self.index[pick]:
            inputs, labels = self.preprocess(self.inputs[index]), self.labels[index]
            loss = nn.functional.cross_entropy(model(inputs), labels)
            if not math.isfinite(loss.item()):
                return losses, None
            losses.append(loss.item())
            update.zero_grad()
            loss.backward()
            update.step()
        return losses, model

    def accuracies(self, optimizer: Callable, steps: int, seed: int) -> tuple[float, float]:
        """On validation and test images, in percent; chance if training diverged."""
        _, model = self.losses(optimizer, steps, seed)
        if model is None:
            return 100 / self.classes, 100 / self.classes
        with torch.no_grad():
            return tuple(
                100 * (model(inputs).argmax(1) == labels).double().mean().item()
                for inputs, labels in (self.val, self.test)
            )


def factor(t: int, betas: tuple[float, float] = (0.9, 0.999)) -> float:
    """How many times too long Adam's step t is without bias correction."""
    return (1 - betas[0] ** t) / math.sqrt(1 - betas[1] ** t)


def step_ratio(steps: int) -> list[float]:
    """Length of each step without over that with correction, of the same gradients, as ε → 0."""
    gradients = torch.randn(steps, 1000, generator=generator(0), dtype=torch.float64)
    lengths = []
    for plant in (mistakes.adam_without_bias_correction, nullcontext):
        w = nn.Parameter(torch.zeros(1000, dtype=torch.float64))
        with plant():
            optimizer, places = optim.Adam([w], lr=1.0, eps=1e-30), [w.detach().clone()]
            for g in gradients:
                w.grad = g
                optimizer.step()
                places.append(w.detach().clone())
        lengths.append(torch.stack(places).diff(dim=0).norm(dim=1))
    return (lengths[0] / lengths[1]).tolist()


def best_rate(sweep: dict) -> float:
    """The rate of the best validation accuracy, mean over seeds."""
    means = [statistics.fmean(of_seeds) for of_seeds in zip(*sweep["val"], strict=True)]
    return sweep["rates"][means.index(max(means))]


def width(rates: Sequence[float], accuracy: Sequence[float]) -> float:
    """Decades of rates on which accuracy, straight between those tried, is near its best."""
    floor, x = max(accuracy) - NEAR, [math.log10(rate) for rate in rates]
    total = 0.0
    for i in range(len(x) - 1):
        low, high = sorted(accuracy[i : i + 2])
        share = 1.0 if low >= floor else (high - floor) / (high - low) if high > floor else 0.0
        total += share * (x[i + 1] - x[i])
    return total


def reached(sweep: dict) -> list[float]:
    """Test accuracy of each seed at the best rate."""
    i = sweep["rates"].index(best_rate(sweep))
    return [accuracy[i] for accuracy in sweep["test"]]


def widths(sweep: dict) -> list[float]:
    """The width of each seed's curve."""
    return [width(sweep["rates"], accuracy) for accuracy in sweep["test"]]


def judge(m: dict) -> list[Finding]:
    """Sensitivity, what is reached, and the first steps, exactly and in training."""
    adam, sgd, first = m["sweep"]["adam"], m["sweep"]["sgd"], m["first"]
    errors = [abs(r / factor(t) - 1) for t, r in enumerate(m["ratio"], 1)]
    means = [[statistics.fmean(losses) for losses in first[key]] for key in ("without", "with")]
    return [
        Finding(
            f"range of learning rates that come within {NEAR} percent points of the own best: "
            f"Adam's minus SGD's, against a factor of two",
            [a - b for a, b in zip(widths(adam), widths(sgd), strict=True)],
            at_least=TWICE,
            unit="decades",
        ),
        Finding(
            "test accuracy at the own best rate: Adam's minus SGD's",
            [a - b for a, b in zip(reached(adam), reached(sgd), strict=True)],
            at_least=-NO_WORSE,
            unit="%",
        ),
        Finding(  # float64 on both sides: rounding alone
            f"steps 1 to {len(errors)} without bias correction are "
            f"(1 − β₁ᵗ)/√(1 − β₂ᵗ) times as long: largest relative error",
            [max(errors)],
            at_most=1e-6,
        ),
        Finding(
            f"mean training loss of the first {first['steps']} steps at Adam's best rate, without "
            f"bias correction minus with",
            [a - b for a, b in zip(*means, strict=True)],
            at_least=0,
            unit="nats",
        ),
    ]


def draw(m: dict) -> list[Item]:
    """The sweep, its summary, the first steps, and steps to play with."""
    return [_sweep(m), _table(m), _first_steps(m), _widget()]


def _sweep(m: dict) -> Plot:
    made = figure("learning rate η", "test accuracy (%)", log_x=True, height=420)
    made.update_xaxes(dtick=1, exponentformat="power")
    for i, (name, sweep) in enumerate(m["sweep"].items()):
        runs = [[round(a, 2) for a in accuracy] for accuracy in sweep["test"]]
        curves(made, sweep["rates"], runs, TITLES[name], i, mode="lines+markers")
        low, high = near(sweep)
        made.add_vrect(low, high, fillcolor=COLOURS[i], opacity=0.12, line_width=0)
    wide = ", ".join(
        f"{TITLES[name]} over {statistics.fmean(widths(sweep)):.2f} decades"
        for name, sweep in m["sweep"].items()
    )
    return Plot(
        made,
        f"Test accuracy against learning rate: within {NEAR} points of its best is {wide}.",
        f"MLP with {m['hidden'][0]} hidden units after {m['steps']} steps of {m['batch']} images "
        f"at a constant rate; mean, lowest and highest of {len(m['seeds'])} seeds. Shaded: from "
        f"the lowest to the highest rate whose mean is within {NEAR} points of the best.",
    )


def near(sweep: dict) -> tuple[float, float]:
    """Lowest and highest rate tried whose mean test accuracy is near the best."""
    means = [statistics.fmean(of_seeds) for of_seeds in zip(*sweep["test"], strict=True)]
    rates = [r for r, a in zip(sweep["rates"], means, strict=True) if a >= max(means) - NEAR]
    return rates[0], rates[-1]


def _table(m: dict) -> Table:
    rows = []
    for name, sweep in m["sweep"].items():
        accuracy, wide = reached(sweep), widths(sweep)
        rows.append(
            [
                TITLES[name],
                f"{best_rate(sweep):.2g}",
                f"{statistics.fmean(accuracy):.1f} % ({min(accuracy):.1f}–{max(accuracy):.1f})",
                f"{statistics.fmean(wide):.2f} ({min(wide):.2f}–{max(wide):.2f})",
            ]
        )
    return Table(
        ["optimizer", "best η", "test accuracy there", f"decades within {NEAR} points"],
        rows,
        f"Mean (lowest–highest) of {len(m['seeds'])} seeds; the best rate is chosen by "
        f"{m['val_images']:,} validation images, accuracy is of {m['test_images']:,} test images.",
    )


def _first_steps(m: dict) -> Plot:
    first, n = m["first"], len(m["ratio"])
    made = make_subplots(2, 1, vertical_spacing=0.16, shared_xaxes=False)
    made.update_layout(template=None, colorway=COLOURS, height=640)
    t = list(range(1, n + 1))
    made.add_scatter(
        x=t,
        y=[round(factor(i), 4) for i in t],
        name="(1 − β₁ᵗ)/√(1 − β₂ᵗ)",
        line={"color": COLOURS[7], "dash": "dash"},
        row=1,
        col=1,
    )
    made.add_scatter(
        x=t,
        y=[round(r, 4) for r in m["ratio"]],
        name="measured",
        mode="markers",
        marker={"color": COLOURS[6], "size": 5},
        row=1,
        col=1,
    )
    for i, (key, name) in enumerate((("with", "with correction"), ("without", "without")), 1):
        runs = [[round(loss, 4) for loss in losses] for losses in first[key]]
        shortest = min(map(len, runs))
        curves(made, t[:shortest], [r[:shortest] for r in runs], name, i, row=2, col=1)
    made.update_xaxes(title="step t")
    made.update_yaxes(title="times as long", row=1, rangemode="tozero")
    made.update_yaxes(title="training loss (nats)", row=2)
    top = max(m["ratio"])
    return Plot(
        made,
        f"Without bias correction Adam's first step is {m['ratio'][0]:.2f} times as long, step "
        f"{m['ratio'].index(top) + 1} is {top:.2f} times; the loss of the first steps is higher by "
        f"{judge(m)[-1].mean:.2f} nats.",
        f"Above: length of each step without correction over that with, of the same gradients. "
        f"Below: loss at η = {first['rate']:.2g}, the best with correction; mean, lowest and "
        f"highest of {len(m['seeds'])} seeds.",
    )


def _widget() -> Widget:
    return Widget(
        "steps",
        SURFACE,
        "Steps of SGD or Adam on a long valley, drawn over its contour lines; sliders choose the "
        "learning rate, momentum, β₁, β₂, the number of steps and how the valley lies.",
        "The valley is 25 times as curved across as along. Raise η until SGD jumps from wall to "
        "wall; give it momentum; then try Adam, with and without bias correction, and turn the "
        "valley: Adam scales each coordinate by itself, which helps while it lies along an axis.",
    )


CLAIM = Claim(
    name="adam",
    title="Adam against SGD",
    quote="Fancier optimizer: Adam.",
    text=(
        "The same MLP takes the same number of steps at each of a range of learning rates, by SGD "
        "with momentum and by Adam. How sensitive an optimizer is, is the width of the range of "
        "rates that come near its own best: the wider, the less a rate has to be tuned. Then Adam "
        "goes without its bias correction: at first its means m and v are too small, √v more than "
        "m, so that the steps are too long."
    ),
    formulas=[
        r"m \leftarrow \beta_1 m + (1-\beta_1)\, g",
        r"v \leftarrow \beta_2 v + (1-\beta_2)\, g^2",
        r"\hat m = \frac{m}{1-\beta_1^t}, \quad \hat v = \frac{v}{1-\beta_2^t}",
        r"w \leftarrow w - \eta \frac{\hat m}{\sqrt{\hat v} + \epsilon}",
        r"\frac{m / \sqrt{v}}{\hat m / \sqrt{\hat v}} = \frac{1-\beta_1^t}{\sqrt{1-\beta_2^t}}",
    ],
    code=[optim.Adam, optim.SGD, mistakes.adam_without_bias_correction],
    measure=measure,
    judge=judge,
    draw=draw,
)
