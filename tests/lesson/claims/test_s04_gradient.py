import copy

import pytest
import torch
from claiming import SmallLab, judged, stored
from torch.nn import functional

from lecture4.lesson.claims import s04_gradient as x
from lecture4.lesson.lab import mean_curve, verdict

EPSILON = 2.0**-52
STEPS = [1e-9, 1e-4, 1e-2, 1.0]


@pytest.fixture(scope="module")
def kept():
    return stored(x, x.measure(SmallLab({24: 8})))


@pytest.fixture
def m(kept):
    return copy.deepcopy(kept)


@pytest.fixture
def problem():
    """Inputs, labels, W and the numbers of W to look at."""
    draw = torch.Generator().manual_seed(0)
    inputs, weight = torch.randn(7, 5, generator=draw), torch.randn(4, 5, generator=draw)
    return inputs, torch.arange(7) % 4, weight, torch.tensor([0, 6, 13, 19])


def in_float64(problem):
    inputs, labels, weight, at = problem
    return inputs.double(), labels, weight.double(), at


def test_derivatives_are_those_of_autograd(problem):
    inputs, labels, weight, at = in_float64(problem)
    derivatives = []
    for i in at:
        w = weight.flatten()[i].clone().requires_grad_()
        moved = torch.where(torch.arange(weight.numel()) == i, w, weight.flatten())
        d, orders = functional.cross_entropy(inputs @ moved.view_as(weight).T, labels), []
        for _ in range(3):
            (d,) = torch.autograd.grad(d, w, create_graph=True)
            orders.append(abs(d.item()))
        derivatives.append(orders)
    _, second, third = zip(*derivatives, strict=True)
    loss = functional.cross_entropy(inputs @ weight.T, labels).item()
    expected = loss, max(second), max(third)
    assert x.derivatives(inputs, labels, weight, at) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("method", "back"), [("forward", 0.0), ("central", 0.25)])
def test_differences_are_the_quotients_of_the_lecture(method, back, problem):
    inputs, labels, weight, at = in_float64(problem)

    def loss(i, step):
        w = weight.clone()
        w.view(-1)[i] += step
        return functional.cross_entropy(inputs @ w.T, labels).item()

    quotients = [(loss(i, 0.25) - loss(i, -back)) / (0.25 + back) for i in at]
    found = x.difference(inputs, labels, weight, at, 0.25, method)
    assert found.tolist() == pytest.approx(quotients, rel=1e-12)


def test_errors_and_predictions(problem):
    inputs, labels, weight, at = in_float64(problem)
    w = weight.clone().requires_grad_()
    functional.cross_entropy(inputs @ w.T, labels).backward()
    largest = w.grad.flatten()[at].abs().max().item()
    loss, second, third = x.derivatives(inputs, labels, weight, at)
    run = x.compare(*problem, STEPS)
    assert 0 < run.autograd["float64"] < 100
    h = torch.logspace(-9, 0, 20_001, dtype=torch.float64)
    for precision, noise in (("float64", EPSILON * loss), ("float32", 2.0**-23 * loss)):
        for method, law in (
            ("forward", lambda h: h / 2 * second),
            ("central", lambda h: h**2 / 6 * third),
        ):
            sweep = run.sweeps[f"{method}, {precision}"]
            assert sweep.truncation == pytest.approx([law(step) / largest for step in STEPS])
            assert sweep.round_off == pytest.approx([noise / step / largest for step in STEPS])
            least = h[(law(h) + noise / h).argmin()].item()
            assert sweep.balance == pytest.approx(least, rel=2e-3)
            if precision == "float64":
                assert sweep.error[1:3] == pytest.approx(sweep.truncation[1:3], rel=0.1)


def test_a_gradient_that_is_wrong_by_a_thousandth_is_seen(problem, monkeypatch):
    right = x.by_formulas
    wrong = {x.F: 1.001, functional: 1.0}
    monkeypatch.setattr(x, "by_formulas", lambda of, *args: wrong[of] * right(of, *args))
    run = x.compare(*problem, [1e-5])
    assert run.autograd["float64"] * EPSILON == pytest.approx(1e-3)
    assert run.sweeps["central, float64"].error[0] == pytest.approx(1e-3, rel=1e-2)


CHANGES = {
    "autograd": lambda run: run.autograd.update(float32=2e3),
    "truncation": lambda run: scale(run.sweeps["central, float64"].error, 3),
    "round-off": lambda run: scale(run.sweeps["forward, float32"].round_off, 1 / 50),
    "best h": lambda run: setattr(run.sweeps["forward, float32"], "balance", 0.1),
    "central": lambda run: setattr(
        run.sweeps["central, float64"], "error", run.sweeps["forward, float64"].error
    ),
}


def scale(values, factor):
    values[:] = [factor * value for value in values]


@pytest.mark.parametrize("name", CHANGES)
def test_what_contradicts_a_finding_is_found(name, m):
    findings = judged(x, m)
    assert list(findings) == list(CHANGES)
    assert verdict(list(findings.values())) == "holds"
    for run in m.runs:
        CHANGES[name](run)
    assert judged(x, m)[name].verdict == "does not hold"


def test_a_law_that_rules_nowhere_is_not_confirmed(m):
    for run in m.runs:
        for sweep in run.sweeps.values():
            scale(sweep.truncation, 0)
    found = judged(x, m)["truncation"]
    assert found.values == [x.FAR] * 3
    assert found.verdict == "does not hold"
    assert list(x.draw(m))


def test_drawing_shows_what_was_measured(m):
    *plots, table = x.draw(m)
    for plot, precision in zip(plots, x.PRECISIONS, strict=True):
        shown = {trace.name: trace for trace in plot.figure.data if trace.name}
        assert len(shown) == 5  # two measured and three predicted
        for method in x.METHODS:
            sweeps = [run.sweeps[f"{method}, {precision}"] for run in m.runs]
            assert list(shown[method].x) == sweeps[0].h
            assert list(shown[method].y) == pytest.approx(mean_curve([s.error for s in sweeps]))
    assert [row[1] for row in table.rows[1:]] == ["30,721", "61,440"]
    least = [min(run.sweeps["central, float64"].error) for run in m.runs]
    assert table.rows[2][2] == pytest.approx(sum(least) / len(least))
    assert f"central {table.rows[2][2]:.1e}" in plots[1].alt


@pytest.mark.parametrize("of_inputs", [0, 1])
def test_a_derivative_of_zero_is_no_division_by_zero(of_inputs, problem):
    inputs, labels, weight, at = problem
    saturated = 1e4 * weight  # every probability is 0 or 1
    run = x.compare(of_inputs * inputs, labels, saturated, at, STEPS)
    assert run.sweeps["forward, float64"].truncation == [0] * len(STEPS)
    m = stored(x, x.Measured(images=7, probes=4, weights=20, runs=[run]))
    assert len(judged(x, m)) == 5
    assert list(x.draw(m))


def test_factors_are_at_least_one_and_at_most_far():
    assert x.apart(2, 8) == x.apart(8, 2) == 4
    assert x.apart(0, 0) == 1
    assert x.apart(0, 1e-300) == x.apart(1e300, 1e-300) == x.FAR
