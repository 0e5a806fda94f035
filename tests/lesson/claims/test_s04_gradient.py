import json
import math

import pytest
import torch
from torch import nn

from lecture4.lesson.claims import s04_gradient as gradient
from lecture4.lesson.lab import Lab, Plot, Table
from lecture4.lesson.lab.finding import verdict

EPSILON = 2.0**-52


@pytest.fixture(scope="module")
def measured():
    return json.loads(json.dumps(gradient.measure(Lab(data="shapes")), allow_nan=False))


@pytest.fixture
def problem():
    """Inputs, labels, W and the numbers of W to look at."""
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(7, 5, generator=draw), torch.randn(4, 5, generator=draw)
    return x, torch.arange(7) % 4, weight, torch.tensor([0, 6, 13, 19])


def test_derivatives_are_those_of_autograd(problem):
    x, y, weight, at = problem
    x, weight = x.double(), weight.double()
    derivatives = []
    for i in at:
        w = weight.flatten()[i].clone().requires_grad_()
        moved = torch.where(torch.arange(weight.numel()) == i, w, weight.flatten())
        d, orders = nn.functional.cross_entropy(x @ moved.view_as(weight).T, y), []
        for _ in range(3):
            (d,) = torch.autograd.grad(d, w, create_graph=True)
            orders.append(abs(d.item()))
        derivatives.append(orders)
    _, second, third = zip(*derivatives, strict=True)
    found = gradient._derivatives(x, y, weight, at)
    assert found["second"] == pytest.approx(max(second), rel=1e-12)
    assert found["third"] == pytest.approx(max(third), rel=1e-12)
    loss = nn.functional.cross_entropy(x @ weight.T, y)
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-12)


def test_differences_are_the_quotients_of_the_lecture(problem):
    x, y, weight, at = problem
    x, weight, h = x.double(), weight.double(), 0.25

    def loss(i, step):
        w = weight.clone()
        w.view(-1)[i] += step
        return nn.functional.cross_entropy(x @ w.T, y).item()

    forward = [(loss(i, h) - loss(i, 0)) / h for i in at]
    central = [(loss(i, h) - loss(i, -h)) / (2 * h) for i in at]
    found = [gradient.difference(x, y, weight, at, h, method) for method in gradient.METHODS]
    assert found[0].tolist() == pytest.approx(forward, rel=1e-12)
    assert found[1].tolist() == pytest.approx(central, rel=1e-12)


def test_errors_and_predictions(problem):
    x, y, weight, at = problem
    found = gradient.compare(x, y, weight, at, [1e-4, 1e-2])
    w = weight.double().requires_grad_()
    nn.functional.cross_entropy(x.double() @ w.T, y).backward()
    slopes = w.grad.flatten()[at]
    second, third, loss = (
        gradient._derivatives(x.double(), y, weight.double(), at)[k]
        for k in ("second", "third", "loss")
    )
    largest = slopes.abs().max().item()
    truncation = found["truncation"]
    assert truncation["forward"] == pytest.approx([h / 2 * second / largest for h in (1e-4, 1e-2)])
    assert truncation["central"] == pytest.approx(
        [h**2 / 6 * third / largest for h in (1e-4, 1e-2)]
    )
    errors = found["errors"]["float64"]
    assert errors["forward"] == pytest.approx(truncation["forward"], rel=0.1)
    assert errors["central"] == pytest.approx(truncation["central"], rel=0.1)
    noise = {"float64": EPSILON * loss, "float32": 2.0**-23 * loss}
    for precision, amount in noise.items():
        line = found["round_off"][precision]
        assert line == pytest.approx([amount / h / largest for h in (1e-4, 1e-2)])
        best = found["best"][precision]
        h = torch.logspace(-9, 0, 20_001, dtype=torch.float64)
        for method, cut in (("forward", h / 2 * second), ("central", h**2 / 6 * third)):
            assert best[method] == pytest.approx(h[(cut + amount / h).argmin()].item(), rel=2e-3)
    assert 0 < found["autograd"]["float64"] < 100


def test_all_holds_on_shapes(measured):
    findings = gradient.judge(measured)
    assert verdict(findings) == "holds"
    assert len(findings) == 5


def test_a_gradient_that_is_wrong_by_a_thousandth_is_seen(problem, monkeypatch):
    x, y, weight, at = problem
    right = gradient._by_hand
    monkeypatch.setattr(gradient, "_by_hand", lambda *args: 1.001 * right(*args))
    found = gradient.compare(x, y, weight, at, [1e-5])
    assert found["autograd"]["float64"] * EPSILON == pytest.approx(1e-3)
    assert found["errors"]["float64"]["central"][0] == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda run: run["autograd"].update(float32=2e3), 0),
        (lambda run: scale(run["errors"]["float64"], "central", 3), 1),
        (lambda run: scale(run["round_off"], "float32", 1 / 50), 2),
        (lambda run: scale(run["best"]["float32"], "forward", 40), 3),
        (
            lambda run: run["errors"]["float64"].update(
                central=run["errors"]["float64"]["forward"]
            ),
            4,
        ),
    ],
)
def test_what_contradicts_a_finding_is_found(change, finding, measured):
    changed = json.loads(json.dumps(measured))
    for run in changed["runs"]:
        change(run)
    assert gradient.judge(changed)[finding].verdict == "does not hold"


def scale(holder, key, factor):
    value = holder[key]
    holder[key] = [v * factor for v in value] if isinstance(value, list) else value * factor


def test_page(measured):
    plot, table = gradient.draw(measured)
    assert isinstance(plot, Plot)
    assert isinstance(table, Table)
    lines = {(t.name, t.yaxis): t for t in plot.figure.data if t.name}
    assert len(lines) == 10  # two measured and three predicted in each of two panels
    runs = measured["runs"]
    for axis, precision in (("y", "float32"), ("y2", "float64")):
        for method in gradient.METHODS:
            shown = lines[method, axis]
            mean = [
                math.fsum(at) / len(runs)
                for at in zip(*(run["errors"][precision][method] for run in runs), strict=True)
            ]
            assert list(shown.x) == measured["steps"]
            assert list(shown.y) == pytest.approx(mean, rel=1e-3)
    assert [row[1] for row in table.rows[1:]] == ["30,721", "61,440"]
    least = [min(run["errors"]["float64"]["central"]) for run in runs]
    assert table.rows[2][2] == pytest.approx(sum(least) / len(least))
    assert f"central, float64: {table.rows[2][2]:.1e} at h near" in plot.alt


def test_a_law_that_rules_nowhere_is_not_confirmed(measured):
    m = json.loads(json.dumps(measured))
    for run in m["runs"]:
        run["truncation"] = {method: [0.0] * len(m["steps"]) for method in gradient.METHODS}
    found = gradient.judge(m)[1]
    assert found.values == [gradient.FAR] * 3
    assert found.verdict == "does not hold"
    assert gradient.draw(m)


def test_a_derivative_of_zero_is_no_division_by_zero(problem):
    x, y, weight, at = problem
    saturated = 1e4 * weight  # every probability is 0 or 1
    run = gradient.compare(x, y, saturated, at, [1e-4, 1e-2])
    assert gradient._derivatives(x.double(), y, saturated.double(), at)["second"] == 0
    blank = gradient.compare(torch.zeros_like(x), y, weight, at, [1e-4, 1e-2])
    common = {"images": 7, "probes": 4, "weights": 20, "seeds": [0], "steps": [1e-4, 1e-2]}
    for case in (run, blank):
        m = json.loads(json.dumps({**common, "runs": [case]}, allow_nan=False))
        assert len(gradient.judge(m)) == 5
        assert gradient.draw(m)


def test_factors_are_at_least_one_and_at_most_far():
    assert gradient._apart(2, 8) == gradient._apart(8, 2) == 4
    assert gradient._apart(0, 0) == 1
    assert gradient._apart(0, 1e-300) == gradient._apart(1e300, 1e-300) == gradient.FAR
