"""The gradient, three ways: by hand, by autograd, by finite differences of every step size."""

import math
from statistics import fmean

import torch
from plotly.subplots import make_subplots
from torch.nn import functional

from lecture4 import ops
from lecture4.lab import Claim, Finding, Item, Lab, Plot, Table, curves
from lecture4.lab.drawing import COLOURS
from lecture4.numerical import gradient, relative_error, slope
from lecture4.randomness import generator

PRECISION = {"float32": torch.float32, "float64": torch.float64}
METHODS = ("forward", "central")
CASES = [(precision, method) for precision in PRECISION for method in METHODS]
NEAR = 0.1  # up to this h the first term left out of the difference is the one that counts


def measure(lab: Lab) -> dict:
    """Slopes of a softmax classifier's loss along single weights, three ways, for many h."""
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
    """Errors of the gradient by autograd, and of finite differences at some of the weights.

    Args:
        x: inputs (N, D), float32.
        y: labels (N,).
        weight: W (K, D), float32; the same point in float64 is that of the comparison.
        at: indices into the numbers of W.
        steps: every h.
    """
    exact = _by_hand(x.double(), y, weight.double())
    slopes = exact.flatten()[at]
    predicted = _derivatives(x.double(), y, weight.double(), at)
    largest = slopes.abs().max().item()
    found: dict = {"autograd": {}, "errors": {}, "truncation": {}, "round_off": {}, "best": {}}
    for name, dtype in PRECISION.items():
        x_, w_, epsilon = x.to(dtype), weight.to(dtype), torch.finfo(dtype).eps
        by_autograd = w_.clone().requires_grad_()
        functional.cross_entropy(functional.linear(x_, by_autograd), y).backward()
        error = relative_error(_by_hand(x_, y, w_), by_autograd.grad)
        found["autograd"][name] = error / epsilon
        noise = epsilon * predicted["loss"]  # of one loss; ε|L|
        found["round_off"][name] = [noise / h / largest for h in steps]
        found["errors"][name] = {
            method: [relative_error(difference(x_, y, w_, at, h, method), slopes) for h in steps]
            for method in METHODS
        }
        found["best"][name] = {
            "forward": math.sqrt(2 * noise / predicted["second"]),
            "central": (3 * noise / predicted["third"]) ** (1 / 3),
        }
    found["truncation"] = {
        "forward": [h / 2 * predicted["second"] / largest for h in steps],
        "central": [h**2 / 6 * predicted["third"] / largest for h in steps],
    }
    return found


def difference(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, at: torch.Tensor, h: float, method: str
) -> torch.Tensor:
    """∂L/∂w of the weights ``at`` by forward or central differences, float64 (len(at),)."""

    def loss(w: torch.Tensor) -> float:
        return ops.cross_entropy(ops.linear(x, w), y).item()

    here, slopes = loss(weight), []
    for i in at:
        e = torch.zeros_like(weight)
        e.view(-1)[i] = 1
        forward = method == "forward"
        slopes.append((loss(weight + h * e) - here) / h if forward else slope(loss, weight, e, h))
    return torch.tensor(slopes, dtype=torch.float64)


def _by_hand(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    w = weight.clone().requires_grad_()
    ops.cross_entropy(ops.linear(x, w), y).backward()
    return w.grad


def _derivatives(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, at: torch.Tensor
) -> dict[str, float]:
    """L, and the largest ∂²L/∂w² and ∂³L/∂w³ among the weights ``at``.

    With p = P(Y = k) and s_k = … + w x:   ∂p/∂w = x p (1 − p), so from ∂L/∂w = mean x (p − y):
    ∂²L/∂w² = mean x² p (1 − p),   ∂³L/∂w³ = mean x³ p (1 − p) (1 − 2p).
    """
    scores = ops.linear(x, weight)
    k, d = at // weight.shape[1], at % weight.shape[1]
    p, x = ops.softmax(scores, dim=1)[:, k], x[:, d]  # (N, len(at)) both
    spread = p * (1 - p)
    return {
        "loss": ops.cross_entropy(scores, y).item(),
        "second": (x**2 * spread).mean(0).abs().max().item(),
        "third": (x**3 * spread * (1 - 2 * p)).mean(0).abs().max().item(),
    }


def judge(m: dict) -> list[Finding]:
    """Do hand and autograd agree, and do finite differences err as predicted?"""
    return [
        # A product of matrices and a mean round some hundred times.
        Finding(
            "the gradient of all of W by hand against autograd: relative error in units of the "
            "precision ε, the larger of float32 and float64",
            [max(run["autograd"].values()) for run in m["runs"]],
            at_most=1000,
            unit="ε",
        ),
        Finding(
            "truncation: factor between measured error and c·h (forward), c·h² (central) in "
            "float64, the worst wherever it is ten times the round-off and h is at most 0.1",
            [max(_factors(m, run, "truncation")) for run in m["runs"]],
            at_most=2,
        ),
        # ε|L| is an order of magnitude, not the error of one rounding.
        Finding(
            "round-off: factor between measured error and ε|L|/h, the worst wherever it is ten "
            "times the truncation and below 1",
            [max(_factors(m, run, "round_off")) for run in m["runs"]],
            at_most=10,
        ),
        Finding(
            "factor between the best h and the predicted one, the worst of forward and central, "
            "float32 and float64",
            [
                max(_apart(_best(m, run, *case), run["best"][case[0]][case[1]]) for case in CASES)
                for run in m["runs"]
            ],
            at_most=10,
        ),
        # Predicted: ε^(2/3) over ε^(1/2), which is 1/400.
        Finding(
            "smallest error of central differences over that of forward differences, float64",
            [
                min(run["errors"]["float64"]["central"]) / min(run["errors"]["float64"]["forward"])
                for run in m["runs"]
            ],
            at_most=0.1,
        ),
    ]


def draw(m: dict) -> list[Item]:
    """Error over h on two logarithmic axes, one panel for each precision; what each way costs."""
    shown = make_subplots(
        rows=2, shared_xaxes=True, vertical_spacing=0.08, subplot_titles=list(PRECISION)
    )
    shown.update_layout(template=None, colorway=COLOURS, height=720)
    steps = m["steps"]
    for row, precision in enumerate(PRECISION, 1):
        place = {"row": row, "col": 1, "showlegend": row == 1}
        for colour, method in enumerate(METHODS):
            errors = [_digits(run["errors"][precision][method]) for run in m["runs"]]
            curves(shown, steps, errors, method, colour, **place, mode="lines+markers")
            line = _digits(_mean([run["truncation"][method] for run in m["runs"]]))
            _predict(shown, steps, line, f"truncation, {method}", colour, "dash", place)
            best = fmean(run["best"][precision][method] for run in m["runs"])
            shown.add_vline(best, line={"color": COLOURS[colour], "dash": "dot"}, row=row, col=1)
        line = _digits(_mean([run["round_off"][precision] for run in m["runs"]]))
        _predict(shown, steps, line, "round-off", 7, "dashdot", place)
    shown.update_xaxes(type="log", exponentformat="power", dtick=2)
    shown.update_xaxes(title="h", row=2)
    shown.update_yaxes(type="log", title="relative error", exponentformat="power")
    shown.update_yaxes(range=[-6, 3], row=1)
    shown.update_yaxes(range=[-13, 3], row=2)
    least = {
        case: _mean([[min(run["errors"][case[0]][case[1]])] for run in m["runs"]])[0]
        for case in CASES
    }
    return [
        Plot(
            shown,
            "Error over step size is a V in each panel: it falls with h along the truncation line "
            "and rises again along the round-off line. At best it is "
            + ", ".join(f"{least[case]:.1e} ({case[1]}, {case[0]})" for case in CASES)
            + ".",
            f"Relative error of {m['probes']} slopes of the loss, mean and range of "
            f"{len(m['seeds'])} seeds. Dashed: what the first term left out of the difference "
            "predicts, by the second and third derivative; dash-dotted: ε|L|/h; dotted upright: "
            "the h where the two balance. No line is fitted. The error is 1 where h is too short "
            "to change the loss at all.",
        ),
        Table(
            ["the gradient of all of W", "evaluations of the loss", "relative error, float64"],
            [
                ["by hand, against autograd", "1, and 1 backward", _autograd_error(m)],
                [
                    "forward differences, best h",
                    f"{m['weights'] + 1:,}",
                    least["float64", "forward"],
                ],
                [
                    "central differences, best h",
                    f"{2 * m['weights']:,}",
                    least["float64", "central"],
                ],
            ],
            f"A check, not a way to train: W has {m['weights']:,} numbers, and each asks for its "
            f"own evaluations (errors are those of {m['probes']} numbers drawn from them).",
        ),
    ]


def _factors(m: dict, run: dict, law: str) -> list[float]:
    """How far measured errors are from a law where it rules; 1 is exact."""
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
    """The factor between two positive numbers, at least 1."""
    a, b = max(a, 1e-300), max(b, 1e-300)
    return max(a / b, b / a)


def _best(m: dict, run: dict, precision: str, method: str) -> float:
    errors = run["errors"][precision][method]
    return m["steps"][errors.index(min(errors))]


def _mean(rows: list[list[float]]) -> list[float]:
    return [fmean(column) for column in zip(*rows, strict=True)]


def _digits(values: list[float]) -> list[float]:
    return [float(f"{v:.4g}") for v in values]


def _autograd_error(m: dict) -> float:
    epsilon = torch.finfo(torch.float64).eps
    return fmean(run["autograd"]["float64"] for run in m["runs"]) * epsilon


def _predict(shown, x, y, name: str, colour: int, dash: str, place: dict) -> None:
    line = {"color": COLOURS[colour], "dash": dash, "width": 1.5}
    shown.add_scatter(x=x, y=y, name=name, mode="lines", line=line, legendgroup=name, **place)


CLAIM = Claim(
    name="gradient",
    title="The gradient, three ways",
    quote="Gradient is the vector of partial derivatives along each dimension - steepest descent "
    "is negative gradient.",
    text="The gradient of a softmax classifier's loss by the formula derived by hand, by torch's "
    "autograd, and by finite differences with every step size h. A finite difference errs twice: "
    "it leaves out the next term of the Taylor series, and it divides the rounding error of two "
    "losses by h. Both errors are predicted from the formulas, so the best h is known before it is "
    "tried: look whether the measured V lies on the predicted lines.",
    formulas=[
        r"\frac{L(w + h) - L(w)}{h} \approx L^{(1)} + \frac{h}{2} L^{(2)}",
        r"\frac{L(w + h) - L(w - h)}{2h} \approx L^{(1)} + \frac{h^2}{6} L^{(3)}",
        r"h^*_\text{forward} = \sqrt{\frac{2 \varepsilon |L|}{|L^{(2)}|}}, \quad "
        r"h^*_\text{central} = \sqrt[3]{\frac{3 \varepsilon |L|}{|L^{(3)}|}}",
    ],
    code=[ops.linear, ops.cross_entropy, slope, gradient, relative_error],
    measure=measure,
    judge=judge,
    draw=draw,
)
