"""The gradient three ways: by hand, by autograd, by finite differences with many step sizes."""

import math
from statistics import fmean

import plotly.graph_objects as go
import torch
from torch.nn import functional

from lecture4.byhand import functional as F
from lecture4.byhand.numerical import gradient, relative_error, slope
from lecture4.data.randomness import generator
from lecture4.lesson.lab.finding import Claim, Finding
from lecture4.lesson.lab.items import Item, Plot, Table
from lecture4.lesson.lab.plots import COLOURS, add_curves, add_line, mean_curve, panels
from lecture4.lesson.lab.trainings import Lab

PRECISION = {"float32": torch.float32, "float64": torch.float64}
METHODS = ("forward", "central")
CASES = [(precision, method) for precision in PRECISION for method in METHODS]
NEAR = 0.1  # up to this h the first neglected Taylor term dominates the truncation error
FAR = 1e6  # larger factors count as this
LEAST = 1e-100  # a derivative of 0 counts as this, so that one can divide by it


def measure(lab: Lab) -> dict:
    """The slope of a softmax classifier's loss along single weights, three ways, for many h."""
    seeds = lab.seeds(lab.pick(3, 5))
    images, probes = lab.pick(20, 50), lab.pick(24, 40)
    per_decade = lab.pick(2, 4)
    steps = [10 ** (e / per_decade) for e in range(-12 * per_decade, 1)]
    runs = []
    for seed in seeds:
        lab.note(f"finite differences of {len(steps)} step sizes, seed={seed}")
        classifier, data = lab.assemble("model=softmax", "model.init=xavier", seed=seed)
        draw = generator(seed)
        chosen = data.train_index[torch.randperm(len(data.train_index), generator=draw)[:images]]
        x = classifier.preprocess(data.dataset.train_inputs[chosen]).flatten(1)
        weight = classifier.model.scores.weight.detach()
        at = torch.randperm(weight.numel(), generator=draw)[:probes]
        runs.append(
            {"seed": seed, **compare(x, data.dataset.train_labels[chosen], weight, at, steps)}
        )
    return {
        "seeds": seeds,
        "images": images,
        "probes": probes,
        "weights": weight.numel(),
        "steps": steps,
        "runs": runs,
    }


def compare(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, at: torch.Tensor, steps: list[float]
) -> dict:
    """Errors of the gradient by autograd, and of finite differences along some of the weights.

    Args:
        x: inputs (N, D), float32.
        y: labels (N,).
        weight: W (K, D), float32; the exact slopes are computed at the same W in float64.
        at: indices into W.view(-1).
        steps: every h.
    """
    exact = _by_hand(x.double(), y, weight.double())
    slopes = exact.flatten()[at]
    predicted = _derivatives(x.double(), y, weight.double(), at)
    largest = max(slopes.abs().max().item(), LEAST)
    found: dict = {"autograd": {}, "errors": {}, "truncation": {}, "round_off": {}, "best": {}}
    for name, dtype in PRECISION.items():
        x_, w_, epsilon = x.to(dtype), weight.to(dtype), torch.finfo(dtype).eps
        by_autograd = w_.clone().requires_grad_()
        functional.cross_entropy(functional.linear(x_, by_autograd), y).backward()
        error = relative_error(_by_hand(x_, y, w_), by_autograd.grad)
        found["autograd"][name] = error / epsilon
        noise = epsilon * predicted["loss"]  # ε|L|, the rounding error of one loss
        found["round_off"][name] = [noise / h / largest for h in steps]
        found["errors"][name] = {
            method: [
                relative_error(difference(x_, y, w_, at, h, method), slopes, LEAST) for h in steps
            ]
            for method in METHODS
        }
        found["best"][name] = {
            "forward": math.sqrt(2 * noise / max(predicted["second"], LEAST)),
            "central": (3 * noise / max(predicted["third"], LEAST)) ** (1 / 3),
        }
    found["truncation"] = {
        "forward": [h / 2 * predicted["second"] / largest for h in steps],
        "central": [h**2 / 6 * predicted["third"] / largest for h in steps],
    }
    return found


def difference(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, at: torch.Tensor, h: float, method: str
) -> torch.Tensor:
    """∂L/∂w of the weights ``at`` by forward or central differences: (len(at),), float64."""

    def loss(w: torch.Tensor) -> float:
        return F.cross_entropy(F.linear(x, w), y).item()

    here, slopes = loss(weight), []
    for i in at:
        e = torch.zeros_like(weight)
        e.view(-1)[i] = 1
        forward = method == "forward"
        slopes.append((loss(weight + h * e) - here) / h if forward else slope(loss, weight, e, h))
    return torch.tensor(slopes, dtype=torch.float64)


def _by_hand(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    w = weight.clone().requires_grad_()
    F.cross_entropy(F.linear(x, w), y).backward()
    return w.grad


def _derivatives(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, at: torch.Tensor
) -> dict[str, float]:
    """L, and the largest |∂²L/∂w²| and |∂³L/∂w³| among the weights ``at``.

    With p = P(Y = k) and s_k = … + w x:   ∂p/∂w = x p (1 − p), so from ∂L/∂w = mean x (p − y):
    ∂²L/∂w² = mean x² p (1 − p),   ∂³L/∂w³ = mean x³ p (1 − p) (1 − 2p).
    """
    scores = F.linear(x, weight)
    k, d = at // weight.shape[1], at % weight.shape[1]
    p, x = F.softmax(scores, dim=1)[:, k], x[:, d]  # (N, len(at)) both
    spread = p * (1 - p)
    return {
        "loss": F.cross_entropy(scores, y).item(),
        "second": (x**2 * spread).mean(0).abs().max().item(),
        "third": (x**3 * spread * (1 - 2 * p)).mean(0).abs().max().item(),
    }


def judge(m: dict) -> list[Finding]:
    """Autograd must agree with the derivation, and finite differences must err as predicted."""
    return [
        # A matrix product and a mean round some hundred times.
        Finding(
            "gradient of all of W by hand against autograd: relative error in units of the machine "
            "precision ε, the larger of float32 and float64",
            [max(run["autograd"].values()) for run in m["runs"]],
            at_most=1000,
            unit="ε",
        ),
        *_laws(m),
        *_best_steps(m),
    ]


def _laws(m: dict) -> list[Finding]:
    """A law that applies to none of the h is not confirmed: its factor counts as ``FAR``."""
    return [
        Finding(
            "truncation: factor between measured error and c·h (forward), c·h² (central) in "
            "float64, the largest where truncation is ten times round-off and h is at most 0.1 (2 "
            "is allowed: a wrong power of h would be off by 10 for each decade of h)",
            [max(_factors(m, run, "truncation"), default=FAR) for run in m["runs"]],
            at_most=2,
        ),
        Finding(
            "round-off: factor between measured error and ε|L|/h, the largest where round-off is "
            "ten times truncation and below 1 (10 is allowed: ε|L| is an order of magnitude)",
            [max(_factors(m, run, "round_off"), default=FAR) for run in m["runs"]],
            at_most=10,
        ),
    ]


def _best_steps(m: dict) -> list[Finding]:
    return [
        # At 10 h* or h*/10 the two errors add up to at least (10 + 1/10)/2 times those at h*.
        Finding(
            "factor between the best h and the predicted one, the largest of forward and central, "
            "float32 and float64 (10 is allowed: an h farther off has five times the least error)",
            [
                max(_apart(_best(m, run, *case), _balance(m, run, *case)) for case in CASES)
                for run in m["runs"]
            ],
            at_most=10,
        ),
        # Predicted: ε^(2/3) / ε^(1/2) = 1/400; a tenth is clearly less than 1.
        Finding(
            "smallest error of central differences over that of forward differences, float64",
            [
                min(_least(run, "float64", "central") / _least(run, "float64", "forward"), FAR)
                for run in m["runs"]
            ],
            at_most=0.1,
        ),
    ]


def draw(m: dict) -> list[Item]:
    """Error against h, one panel for each precision; the cost of each way."""
    return [_plot(m), _table(m)]


def _plot(m: dict) -> Plot:
    shown = panels(2, 1, list(PRECISION), height=720, shared_xaxes=True, vertical_spacing=0.08)
    for row, precision in enumerate(PRECISION, 1):
        _panel(shown, m, precision, row)
    shown.update_xaxes(type="log", exponentformat="power", dtick=2)
    shown.update_xaxes(title="h", row=2)
    shown.update_yaxes(type="log", title="relative error", exponentformat="power")
    shown.update_yaxes(range=[-6, 3], row=1)
    shown.update_yaxes(range=[-13, 3], row=2)
    least = "; ".join(
        f"{method}, {precision}: {_mean_least(m, precision, method):.1e} at h near "
        f"{fmean(_best(m, run, precision, method) for run in m['runs']):.1e}, predicted "
        f"{fmean(_balance(m, run, precision, method) for run in m['runs']):.1e}"
        for precision, method in CASES
    )
    worst = {
        law: max(max(_factors(m, run, law), default=FAR) for run in m["runs"])
        for law in ("truncation", "round_off")
    }
    return Plot(
        shown,
        f"Least errors of the slopes: {least}. For large h the error follows the truncation line "
        f"within a factor of {worst['truncation']:.3g}, for small h the round-off line within "
        f"{worst['round_off']:.3g}.",
        f"Relative error of {m['probes']} slopes of the loss on {m['images']} images, mean and "
        f"range of {len(m['seeds'])} seeds. Dashed: the first neglected Taylor term, from the "
        "second and third derivative; dash-dotted: ε|L|/h; dotted vertical: the h where the two "
        "balance. No line is fitted. The error is 1 where h is too small to change the loss.",
    )


def _panel(shown: go.Figure, m: dict, precision: str, row: int) -> None:
    """Measured and predicted errors in one precision."""
    steps, place = m["steps"], {"row": row, "col": 1, "showlegend": row == 1}
    for colour, method in enumerate(METHODS):
        errors = [run["errors"][precision][method] for run in m["runs"]]
        add_curves(shown, steps, errors, method, colour, **place, mode="lines+markers")
        line = mean_curve([run["truncation"][method] for run in m["runs"]])
        name = f"truncation, {method}"
        add_line(shown, steps, line, name, colour, "dash", 1.5, legendgroup=name, **place)
        best = fmean(_balance(m, run, precision, method) for run in m["runs"])
        shown.add_vline(best, line={"color": COLOURS[colour], "dash": "dot"}, row=row, col=1)
    line = mean_curve([run["round_off"][precision] for run in m["runs"]])
    add_line(shown, steps, line, "round-off", 7, "dashdot", 1.5, legendgroup="round-off", **place)


def _table(m: dict) -> Table:
    forward, central = (_mean_least(m, "float64", method) for method in METHODS)
    return Table(
        ["the gradient of all of W", "evaluations of the loss", "relative error, float64"],
        [
            ["by hand, against autograd", "1, and 1 backward", _autograd_error(m)],
            ["forward differences, best h", f"{m['weights'] + 1:,}", forward],
            ["central differences, best h", f"{2 * m['weights']:,}", central],
        ],
        f"A check, not a way to train: W has {m['weights']:,} numbers, and each needs its own "
        f"evaluations (errors are measured on {m['probes']} randomly chosen numbers).",
    )


def _factors(m: dict, run: dict, law: str) -> list[float]:
    """Factors between measured errors and a law, where it applies; 1 is exact."""
    found = []
    for precision, method in CASES:
        measured = run["errors"][precision][method]
        cut, noise = run["truncation"][method], run["round_off"][precision]
        for h, error, t, r in zip(m["steps"], measured, cut, noise, strict=True):
            if law == "truncation" and precision == "float64" and t > 10 * r and h <= NEAR:
                found.append(_apart(error, t))
            if law == "round_off" and r > 10 * t and r < 1:
                found.append(_apart(error, r))
    return found


def _apart(a: float, b: float) -> float:
    """The factor between two non-negative numbers, from 1 to FAR; FAR if one of them is 0."""
    low, high = sorted((a, b))
    return min(high / low, FAR) if low else FAR if high else 1.0


def _best(m: dict, run: dict, precision: str, method: str) -> float:
    """The h of the smallest error."""
    errors = run["errors"][precision][method]
    return m["steps"][errors.index(min(errors))]


def _balance(m: dict, run: dict, precision: str, method: str) -> float:
    """The h where truncation and round-off balance, clamped to the range tried."""
    return min(max(run["best"][precision][method], m["steps"][0]), m["steps"][-1])


def _least(run: dict, precision: str, method: str) -> float:
    """The smallest error; 0 counts as a hundredth of the precision."""
    return max(min(run["errors"][precision][method]), torch.finfo(PRECISION[precision]).eps / 100)


def _mean_least(m: dict, precision: str, method: str) -> float:
    return fmean(min(run["errors"][precision][method]) for run in m["runs"])


def _autograd_error(m: dict) -> float:
    epsilon = torch.finfo(torch.float64).eps
    return fmean(run["autograd"]["float64"] for run in m["runs"]) * epsilon


CLAIM = Claim(
    name="gradient",
    title="The gradient, three ways",
    quote=[
        "Gradient is the vector of partial derivatives along each dimension - steepest descent is "
        "negative gradient."
    ],
    text="The gradient of a softmax classifier's loss by the formula derived by hand, by torch's "
    "autograd, and by finite differences with many step sizes h. A finite difference has two "
    "errors: it truncates the Taylor series, and it divides the rounding error of two losses by h. "
    "The formulas predict both, and thus the best h: see whether the measured V-shaped curve "
    "follows the predicted lines.",
    formulas=[
        r"\frac{L(w + h) - L(w)}{h} \approx L^{(1)} + \frac{h}{2} L^{(2)}",
        r"\frac{L(w + h) - L(w - h)}{2h} \approx L^{(1)} + \frac{h^2}{6} L^{(3)}",
        r"h^*_\text{forward} = \sqrt{\frac{2 \varepsilon |L|}{|L^{(2)}|}}, \quad "
        r"h^*_\text{central} = \sqrt[3]{\frac{3 \varepsilon |L|}{|L^{(3)}|}}",
    ],
    code=[F.linear, F.cross_entropy, slope, gradient, relative_error],
    measure=measure,
    judge=judge,
    draw=draw,
)
