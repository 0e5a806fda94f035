"""Adam against SGD: the range of good learning rates, and the effect of bias correction."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial

import plotly.graph_objects as go
import torch
from torch import nn

from lecture4.byhand import optim
from lecture4.data.randomness import generator
from lecture4.lesson import planted_bugs
from lecture4.lesson.lab.finding import Claim, Finding, paired, resolution
from lecture4.lesson.lab.items import Item, Plot, Table, Widget
from lecture4.lesson.lab.plots import (
    COLOURS,
    add_chance,
    add_curves,
    add_line,
    add_points,
    figure,
    mean_curve,
    panels,
    spread,
)
from lecture4.lesson.lab.trainings import Lab, accuracy
from lecture4.models import MLP

OPTIMIZERS = ("sgd", "adam")
BATCH = 128
SHARE = 0.9  # of the best rate's gain over chance; a rate that reaches it counts as good
TWICE = math.log10(2)  # decades: who tries rates by doubling would not notice a smaller difference
NO_WORSE = 1  # point by which Adam may be worse at its best rate
A_TENTH = 0.1  # nats: e^−0.1 ≈ 0.9, a tenth less probability for the right class
SURFACE = {"curvatures": [1.0, 25.0], "start": [-4.0, 1.5], "steps": 100}


def measure(lab: Lab) -> dict:
    """Sweep the rate of each optimizer; then Adam's first steps with and without correction."""
    seeds, steps = lab.seeds(lab.pick(3, 7)), lab.pick(80, 500)
    rates = {
        "sgd": _decades(*lab.pick((-3.5, 0.0), (-4.0, 0.5))),
        "adam": _decades(*lab.pick((-5.0, -1.5), (-5.5, -1.0))),
    }
    task, sweep, built = _Task(lab), {}, {}
    for name in OPTIMIZERS:
        words = "model=mlp", f"optim={name}", "formulas=byhand"
        built[name] = lab.assemble(*words)[0].optimizer
        sweep[name] = {"title": title(built[name].keywords), "rates": rates[name]}
        sweep[name] |= _accuracies(lab, task, built[name], sweep[name], steps, seeds)
    first = _first_steps(lab, task, built["adam"], best_rate(sweep["adam"]), seeds)
    betas = list(built["adam"].keywords["betas"])
    return {
        "seeds": seeds,
        "steps": steps,
        "batch": BATCH,
        "classes": task.classes,
        "hidden": task.hidden,
        "val_images": len(task.val[1]),
        "test_images": len(task.test[1]),
        "sweep": sweep,
        "betas": betas,
        "first": first,
        "ratio": step_ratio(first["steps"], betas),
    }


def _accuracies(
    lab: Lab, task: "_Task", make: Callable, sweep: dict, steps: int, seeds: Sequence[int]
) -> dict[str, list[list[float]]]:
    """Validation and test accuracy of each seed at each rate."""
    rows = []
    for rate in sweep["rates"]:
        lab.note(f"{sweep['title']}, η = {rate:.2g}")
        rows.append([task.accuracies(partial(make, lr=rate), steps, seed) for seed in seeds])
    return {
        split: [[runs[s][i] for runs in rows] for s in range(len(seeds))]
        for i, split in enumerate(("val", "test"))
    }


def title(settings: Mapping) -> str:
    """An optimizer's name on the page, from its settings."""
    if "betas" in settings:
        return "Adam"
    return f"SGD, {'Nesterov ' * settings['nesterov']}momentum {settings['momentum']}"


def _decades(low: float, high: float) -> list[float]:
    """Rates from 10^low to 10^high in steps of a factor √10."""
    return [10 ** (low + i / 2) for i in range(round(2 * (high - low)) + 1)]


def _first_steps(
    lab: Lab, task: "_Task", make: Callable, rate: float, seeds: Sequence[int]
) -> dict[str, float | int | list[list[float]]]:
    """Losses of Adam's first steps, up to where a run diverges."""
    steps = lab.pick(60, 100)
    first = {"rate": rate, "steps": steps}
    for key, plant in (
        ("with", nullcontext),
        ("without", planted_bugs.adam_without_bias_correction),
    ):
        lab.note(f"the first steps of Adam, {key} bias correction")
        with plant():
            first[key] = [task.losses(partial(make, lr=rate), steps, seed)[0] for seed in seeds]
    return first


class _Task:
    """The training that every optimizer does: an MLP, standardised images, and their order."""

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
        """Loss before each step, and the model; None for the model if training diverged."""
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
        """Accuracy on validation and test images; chance if training diverged."""
        _, model = self.losses(optimizer, steps, seed)
        if model is None:
            return 1 / self.classes, 1 / self.classes
        return accuracy(model, *self.val), accuracy(model, *self.test)


def factor(t: int, betas: Sequence[float]) -> float:
    """By how much Adam's step t is too long without bias correction."""
    return (1 - betas[0] ** t) / math.sqrt(1 - betas[1] ** t)


def step_ratio(steps: int, betas: Sequence[float]) -> list[float]:
    """Length of each step without correction over that with it, same gradients, ε → 0."""
    gradients = torch.randn(steps, 1000, generator=generator(0), dtype=torch.float64)
    lengths = []
    for plant in (planted_bugs.adam_without_bias_correction, nullcontext):
        w = nn.Parameter(torch.zeros(1000, dtype=torch.float64))
        with plant():
            optimizer = optim.Adam([w], lr=1.0, betas=tuple(betas), eps=1e-30)
            places = [w.detach().clone()]
            for g in gradients:
                w.grad = g
                optimizer.step()
                places.append(w.detach().clone())
        lengths.append(torch.stack(places).diff(dim=0).norm(dim=1))
    return (lengths[0] / lengths[1]).tolist()


def best_rate(sweep: dict) -> float:
    """The rate of the highest mean validation accuracy."""
    means = mean_curve(sweep["val"])
    return sweep["rates"][means.index(max(means))]


def reached(sweep: dict) -> list[float]:
    """Test accuracy of each seed at the best rate."""
    i = sweep["rates"].index(best_rate(sweep))
    return [accuracy[i] for accuracy in sweep["test"]]


def floor(reached: Sequence[float], chance: float) -> float:
    """Accuracy from which a rate counts as good; infinite if no rate is better than chance."""
    gain = max(reached) - chance
    return chance + SHARE * gain if gain > 1e-9 else math.inf  # more than a mean's rounding error


def width(rates: Sequence[float], accuracy: Sequence[float], chance: float) -> float:
    """Decades of rates with good accuracy, interpolated linearly between those tried."""
    least, x = floor(accuracy, chance), [math.log10(rate) for rate in rates]
    total = 0.0
    for i in range(len(x) - 1):
        low, high = sorted(accuracy[i : i + 2])
        share = 1.0 if low >= least else (high - least) / (high - low) if high > least else 0.0
        total += share * (x[i + 1] - x[i])
    return total


def widths(m: dict, name: str) -> list[float]:
    """The width of each seed's curve."""
    sweep = m["sweep"][name]
    return [width(sweep["rates"], accuracy, 1 / m["classes"]) for accuracy in sweep["test"]]


def good(m: dict, name: str) -> list[float]:
    """The rates whose mean test accuracy is good."""
    means = mean_curve(m["sweep"][name]["test"])
    least = floor(means, 1 / m["classes"])
    return [r for r, a in zip(m["sweep"][name]["rates"], means, strict=True) if a >= least]


def at_edge(m: dict, name: str) -> bool:
    """Whether a seed's good rates include the lowest or highest tried, so more may lie beyond."""
    chance = 1 / m["classes"]
    return any(max(a[0], a[-1]) >= floor(a, chance) for a in m["sweep"][name]["test"])


def first_losses(m: dict, key: str) -> list[float]:
    """Each seed's mean loss of the first steps; once diverged, its worst loss or ln K counts."""
    n, blank = m["first"]["steps"], math.log(m["classes"])
    return [
        statistics.fmean([*losses, *[max(blank, *losses)] * (n - len(losses))])
        for losses in m["first"][key]
    ]


def excess(m: dict) -> list[float]:
    """Increase of the first steps' loss without bias correction, seed by seed."""
    pairs = zip(first_losses(m, "without"), first_losses(m, "with"), strict=True)
    return [a - b for a, b in pairs]


def judge(m: dict) -> list[Finding]:
    """Sensitivity, best accuracy, and the first steps, by formula and in training."""
    adam, sgd = reached(m["sweep"]["adam"]), reached(m["sweep"]["sgd"])
    wide = zip(widths(m, "adam"), widths(m, "sgd"), strict=True)
    errors = [abs(r / factor(t, m["betas"]) - 1) for t, r in enumerate(m["ratio"], 1)]
    return [
        Finding(  # a range of rates that all learn nothing would be wide, but meaningless
            "test accuracy at its best rate minus chance, the worse of the two optimizers (more "
            f"than luck on {m['test_images']:,} images)",
            paired(list(map(min, adam, sgd)), 1 / m["classes"]),
            at_least=resolution(m["test_images"]),
            unit="points",
        ),
        Finding(
            f"width of the range of rates with at least {SHARE:.0%} of the best rate's gain over "
            "chance: Adam's minus SGD's (at least a factor of two)",
            [a - b for a, b in wide],
            at_least=TWICE,
            unit="decades",
        ),
        Finding(
            "test accuracy at its best rate: Adam's minus SGD's",
            paired(adam, sgd),
            at_least=-NO_WORSE,
            unit="points",
        ),
        Finding(  # float64 on both sides, so only rounding differs
            f"steps 1 to {len(errors)} without bias correction are (1 − β₁ᵗ)/√(1 − β₂ᵗ) times as "
            "long: largest relative error",
            [max(errors)],
            at_most=1e-6,
        ),
        Finding(
            f"mean training loss of the first {m['first']['steps']} steps at the best rate with "
            "bias correction: without correction minus with it (0.1: a tenth less probability for "
            "the right class)",
            excess(m),
            at_least=A_TENTH,
            unit="nats",
        ),
    ]


def draw(m: dict) -> list[Item]:
    """The sweep, its summary, the first steps, and the widget."""
    return [_sweep(m), _table(m), _start(m), _widget()]


def _sweep(m: dict) -> Plot:
    made = figure("learning rate η", "test accuracy (%)", log_x=True, height=420)
    made.update_xaxes(dtick=1, exponentformat="power")
    for i, (name, sweep) in enumerate(m["sweep"].items()):
        runs = [[100 * a for a in accuracy] for accuracy in sweep["test"]]
        add_curves(made, sweep["rates"], runs, sweep["title"], i, mode="lines+markers")
        if rates := good(m, name):
            made.add_vrect(rates[0], rates[-1], fillcolor=COLOURS[i], opacity=0.12, line_width=0)
    add_chance(made, 100 / m["classes"])
    wide = ", ".join(
        f"{sweep['title']} over {_wide(m, name, statistics.fmean(widths(m, name)))} decades"
        for name, sweep in m["sweep"].items()
    )
    return Plot(
        made,
        f"Test accuracy against learning rate. At least {SHARE:.0%} of the best gain over chance: "
        f"{wide}.",
        f"MLP with {m['hidden'][0]} hidden units after {m['steps']} steps of {m['batch']} images "
        f"at a constant rate; mean, lowest and highest of {len(m['seeds'])} seeds. Shaded: from "
        f"the lowest to the highest rate whose mean has at least {SHARE:.0%} of the best mean's "
        "gain over chance.",
    )


def _wide(m: dict, name: str, mean: float) -> str:
    return f"{'at least ' if at_edge(m, name) else ''}{mean:.2f}"


def _table(m: dict) -> Table:
    rows, marks = [], set()
    for name, sweep in m["sweep"].items():
        rate = best_rate(sweep)
        best_mark = "*" if rate in (sweep["rates"][0], sweep["rates"][-1]) else ""
        wide_mark = "†" if at_edge(m, name) else ""
        marks |= {best_mark, wide_mark}
        rows.append(
            [
                sweep["title"],
                f"{rate:.2g}{best_mark}",
                f"{spread([100 * a for a in reached(sweep)])} %",
                f"{spread(widths(m, name), 2)}{wide_mark}",
            ]
        )
    notes = {
        "*": " * The lowest or highest rate tried; a better one may lie beyond.",
        "†": " † For at least one seed the range includes the lowest or highest rate tried, so it "
        "may be wider.",
    }
    return Table(
        ["optimizer", "best η", "test accuracy there", "decades of good rates"],
        rows,
        f"Mean (lowest–highest) of {len(m['seeds'])} seeds; the best rate is chosen by "
        f"{m['val_images']:,} validation images, accuracy measured on {m['test_images']:,} test "
        f"images. Good: at least {SHARE:.0%} of the best gain over chance."
        + "".join(note for mark, note in notes.items() if mark in marks),
    )


def _start(m: dict) -> Plot:
    made = panels(2, 1, vertical_spacing=0.16, height=640)
    _ratio(made, m)
    for i, (key, name) in enumerate((("with", "with correction"), ("without", "without")), 1):
        runs = m["first"][key]
        shortest = min(map(len, runs))
        steps = range(1, shortest + 1)
        add_curves(made, steps, [r[:shortest] for r in runs], name, i, row=2, col=1)
    made.update_xaxes(title="step t")
    made.update_yaxes(title="times as long", row=1, rangemode="tozero")
    made.update_yaxes(title="training loss (nats)", row=2)
    top, difference = max(m["ratio"]), statistics.fmean(excess(m))
    return Plot(
        made,
        f"Without bias correction Adam's first step is {m['ratio'][0]:.2f} times as long, step "
        f"{m['ratio'].index(top) + 1} is {top:.2f} times; the mean loss of the first "
        f"{m['first']['steps']} steps is {'higher' if difference > 0 else 'lower'} by "
        f"{abs(difference):.2f} nats.",
        "Above: length of each step without correction over that with it, for the same gradients. "
        f"Below: loss at η = {m['first']['rate']:.2g}, the best with correction; mean, lowest and "
        f"highest of {len(m['seeds'])} seeds.{_diverged(m)}",
    )


def _ratio(made: go.Figure, m: dict) -> None:
    t = list(range(1, len(m["ratio"]) + 1))
    law = [factor(i, m["betas"]) for i in t]
    add_line(made, t, law, "(1 − β₁ᵗ)/√(1 − β₂ᵗ)", 7, "dash", row=1, col=1)
    add_points(made, t, m["ratio"], "measured", 6, 5, row=1, col=1)


def _diverged(m: dict) -> str:
    first = m["first"]
    lost = [(key, sum(len(r) < first["steps"] for r in first[key])) for key in ("with", "without")]
    return "".join(
        f" {n} of {len(m['seeds'])} runs {key} correction diverged; from there on their worst loss "
        "or ln K counts, whichever is higher, and the curves end."
        for key, n in lost
        if n
    )


def _widget() -> Widget:
    along, across = SURFACE["curvatures"]
    return Widget(
        "steps",
        SURFACE,
        "Steps of SGD or Adam in a long valley, drawn over its contour lines; sliders set the "
        "learning rate, momentum, β₁, β₂, the number of steps and the direction of the valley.",
        f"The curvature across the valley is {across / along:g} times the curvature along it. "
        "Raise η until SGD jumps from wall to wall; add momentum; then try Adam, with and without "
        "bias correction, and turn the valley: Adam scales each coordinate separately, which helps "
        "while the valley is parallel to an axis.",
    )


CLAIM = Claim(
    name="adam",
    title="Adam against SGD with Nesterov momentum",
    quote=["Fancier optimizer: Adam."],
    text=(
        "The same MLP takes the same number of steps at each of several learning rates, with SGD "
        "(Nesterov momentum) and with Adam. The wider the range of rates that come close to an "
        "optimizer's best, the less its rate needs tuning. Then Adam runs without its bias "
        "correction: at first its averages m and v are too small, √v more so than m, and the steps "
        "are too long. See whether Adam's range is wider, and what the long steps do to the loss."
    ),
    formulas=[
        r"m \leftarrow \beta_1 m + (1-\beta_1)\, g",
        r"v \leftarrow \beta_2 v + (1-\beta_2)\, g^2",
        r"\hat m = \frac{m}{1-\beta_1^t}, \quad \hat v = \frac{v}{1-\beta_2^t}",
        r"w \leftarrow w - \eta \frac{\hat m}{\sqrt{\hat v} + \epsilon}",
        r"\frac{m / \sqrt{v}}{\hat m / \sqrt{\hat v}} = \frac{1-\beta_1^t}{\sqrt{1-\beta_2^t}}",
    ],
    code=[optim.Adam, optim.SGD, planted_bugs.adam_without_bias_correction],
    measure=measure,
    judge=judge,
    draw=draw,
)
