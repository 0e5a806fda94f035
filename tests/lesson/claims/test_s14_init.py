import json
import math

import numpy as np
import pytest
import torch

from lecture4.data.randomness import generator
from lecture4.lesson.claims.s14_init import (
    ADVISED,
    CLAIM,
    SCHEMES,
    _expected,
    _expected_difference,
    _trainings,
    passed,
    predicted,
    untrained,
)
from lecture4.lesson.lab import Lab, Plot, Run, Table, Widget
from lecture4.models import MLP

SMALL = ("data=shapes", "data.train_size=400", "data.test_size=100", "data.val_size=100")


class SmallLab(Lab):
    def compose(self, *overrides, seed=None):
        return super().compose(*SMALL, *overrides, seed=seed)

    def pick(self, quick, full):
        few = {4_500: 300, 22_500: 300}
        return few.get(super().pick(quick, full), super().pick(quick, full))


@pytest.fixture(scope="module")
def measured():
    return json.loads(json.dumps(CLAIM.measure(SmallLab()), allow_nan=False))


@pytest.fixture
def m(measured):
    return json.loads(json.dumps(measured))


def verdicts(m):
    return [finding.verdict for finding in CLAIM.judge(m)]


@pytest.mark.parametrize("q", [0.01, 1.0, 3025.0])
def test_averages_over_a_gaussian_have_the_closed_form(q):
    assert _expected(lambda z: torch.relu(z).square(), q) == pytest.approx(q / 2, rel=1e-5)
    assert _expected(torch.sigmoid, q) == pytest.approx(0.5)
    assert _expected(torch.erf, q) == pytest.approx(0, abs=1e-9)
    # E[erf(z)²] = (2/π) asin(2q/(1 + 2q)): Williams 1997
    square = 2 / math.pi * math.asin(2 * q / (1 + 2 * q))
    assert _expected(lambda z: torch.erf(z).square(), q) == pytest.approx(square, rel=1e-3)


def test_averages_over_a_gaussian_are_those_of_gauss_and_hermite():
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    expected = (weights * np.tanh(0.7 * nodes) ** 2).sum() / weights.sum()
    assert _expected(lambda z: torch.tanh(z).square(), 0.49) == pytest.approx(expected)


@pytest.mark.parametrize(("q", "d"), [(1.0, 0.5), (1.0, 1.0), (2.0, 1e-6), (900.0, 300.0)])
def test_the_spread_between_two_images_has_the_closed_form(q, d):
    c = q - d
    asin = [math.asin(2 * v / (1 + 2 * q)) for v in (q, c)]
    expected = 2 / math.pi * (asin[0] - asin[1])
    assert _expected_difference(torch.erf, q, d) == pytest.approx(expected, rel=0.01)
    assert _expected_difference(lambda z: z, q, d) == pytest.approx(d)


def test_a_pass_keeps_what_hooks_and_torch_see():
    x = torch.randn(5, 4, dtype=torch.float64, generator=generator(2))
    y = torch.arange(5) % 3
    torch.manual_seed(0)
    model = MLP((4,), 3, [6, 6], "tanh").double()
    seen = []
    model.hidden[2].register_forward_hook(
        lambda layer, inputs, output: seen.append((inputs, output))
    )
    p = passed(model, x, y)
    (h1,), z2 = seen[0]
    torch.testing.assert_close(p.h[0], h1)
    torch.testing.assert_close(p.z[1], z2)
    torch.testing.assert_close(p.h[1], torch.tanh(z2))
    probability = torch.softmax(model(x), 1)
    of_scores = probability - torch.nn.functional.one_hot(y, 3)
    torch.testing.assert_close(p.scores_gradient, of_scores.detach())
    expected = (of_scores @ model.scores.weight) * (1 - torch.tanh(z2) ** 2)
    torch.testing.assert_close(p.gradient[1], expected.detach())


def test_a_multiple_multiplies_every_weight():
    x = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    one, three = (untrained("relu", "he", x, 10, 5, multiple) for multiple in (1.0, 3.0))
    for a, b in zip(one.parameters(), three.parameters(), strict=True):
        torch.testing.assert_close(3 * a, b)
    assert one.scores.weight.std().item() == pytest.approx(0.1, rel=0.1)


def test_predicted_for_relu_and_he_is_constant():
    x = torch.randn(50, 100, dtype=torch.float64, generator=generator(3))
    std = math.sqrt(2 / 100)
    made = predicted("relu", [std] * 10 + [0.1], x, 10, 0.3)
    assert made["q"] == pytest.approx([made["q"][0]] * 10, rel=1e-4)
    last = 0.3 * math.sqrt(0.01 * 10 / 2)
    assert made["gradient"] == pytest.approx([last] * 10, rel=1e-2)


def test_what_is_measured_lies_along_the_prediction(measured):
    for activation, scheme in [*ADVISED.items(), ("sigmoid", "large"), ("tanh", "large")]:
        of = measured["schemes"][activation][scheme]
        for key in ("spread", "gradient"):
            logs = np.log10(of[key]).mean(0)  # over seeds
            np.testing.assert_allclose(logs, np.log10(of["predicted"][key]), atol=0.35)


def test_the_findings_on_a_small_set(measured):
    found = CLAIM.judge(measured)
    assert len(found) == 11  # no training is judged by one seed
    assert [f.verdict for f in found[:2]] == ["holds"] * 2
    assert [f.verdict for f in found[4:7]] == ["does not hold"] * 3
    assert all(f.mean > 2 for f in found[4:7])  # larger, not smaller
    assert [f.verdict for f in found[7:9]] == ["does not hold", "holds"]
    assert found[9].mean == pytest.approx(-1.35, abs=0.4)
    assert found[10].verdict == "holds"


def test_the_gap_to_the_prediction_is_the_worst_of_all_layers(m):
    of = m["schemes"]["tanh"]["xavier"]
    of["gradient"][1][4] = 100 * of["predicted"]["gradient"][4]
    of["spread"][2][9] = of["predicted"]["spread"][9] / 1000
    found = CLAIM.judge(m)[10]
    assert found.values[1:] == pytest.approx([2, 3])
    assert found.values[0] < 0.5
    assert found.verdict != "holds"
    plot, *_ = CLAIM.draw(m)
    assert "at most 3.00 powers of ten apart" in plot.alt


def test_what_float64_cannot_tell_from_zero_is_no_gap(m):
    before = CLAIM.judge(m)[10].values
    of = m["schemes"]["sigmoid"]["small"]
    assert of["predicted"]["spread"][9] < 1e-15
    of["spread"] = [[*layers[:9], 0.0] for layers in of["spread"]]
    assert CLAIM.judge(m)[10].values == before
    of["spread"][0][9] = 1e-12
    assert CLAIM.judge(m)[10].values[0] == pytest.approx(3)


def flat(m, activation, share):
    m["schemes"][activation]["large"]["flat"] = [[share] * 10] * 3


def gradient(m, activation, scheme, value):
    m["schemes"][activation][scheme]["gradient"] = [[value] * 10] * 3


@pytest.mark.parametrize(
    ("change", "finding", "expected"),
    [
        (
            lambda m: m["schemes"]["tanh"]["small"].update(spread=[[1.0] * 10] * 3),
            0,
            "does not hold",
        ),
        (lambda m: gradient(m, "relu", "small", 0.1), 1, "does not hold"),
        (lambda m: flat(m, "sigmoid", 0.2), 2, "does not hold"),
        (lambda m: flat(m, "sigmoid", 0.8), 2, "holds"),
        (lambda m: flat(m, "tanh", 0.2), 3, "does not hold"),
        (lambda m: gradient(m, "sigmoid", "large", 1e-30), 4, "holds"),
        (lambda m: gradient(m, "tanh", "large", 1e-5), 5, "holds"),
        (lambda m: gradient(m, "relu", "large", 0.0), 6, "holds"),
        (lambda m: m["schemes"]["sigmoid"].update(xavier=m["schemes"]["relu"]["he"]), 7, "holds"),
        (
            lambda m: m["schemes"]["relu"]["he"].update(
                spread=[[10.0**-layer for layer in range(10)]] * 3
            ),
            8,
            "does not hold",
        ),
        (lambda m: m.update(relu_without_factor=[[1.0] * 10] * 3), 9, "does not hold"),
        (
            lambda m: m["schemes"]["tanh"]["xavier"]["predicted"].update(gradient=[1.0] * 10),
            10,
            "does not hold",
        ),
    ],
)
def test_other_measurements_are_judged_otherwise(m, change, finding, expected):
    change(m)
    assert verdicts(m)[finding] == expected


def test_trainings_of_three_seeds_are_judged(m):
    m["trainings"]["seeds"], m["tested"] = [0, 1, 2], 10_000
    for of in m["trainings"]["schemes"].values():
        for scheme in SCHEMES:
            of[scheme]["accuracy"] = [0.1, 0.11, 0.12]
        of["large"]["accuracy"] = [0.2, 0.21, 0.22]
    m["trainings"]["schemes"]["relu"]["he"]["accuracy"] = [0.4, 0.41, 0.42]
    assert verdicts(m)[11:] == ["does not hold", "does not hold", "holds"]
    assert CLAIM.judge(m)[-1].values == pytest.approx([20, 20, 20])
    m["chance"] = 0.5
    assert CLAIM.judge(m)[-1].values == pytest.approx([-10, -9, -8])


def test_trainings_take_the_best_of_the_rates_and_may_diverge(m):
    class Scripted(SmallLab):
        def train(self, *overrides, seed=None):
            if "model.init=large" in overrides:
                return Run("", seed, [], 0.1, 0.0, 1, True, {})
            good = 0.2 if "optim.lr=0.03" in overrides else 0.15
            return Run("", seed, [{"val/accuracy": good}], good, 0.0, 1, False, {})

    m["trainings"] = json.loads(json.dumps(_trainings(Scripted(budget="full")), allow_nan=False))
    he, lost = (m["trainings"]["schemes"]["relu"][scheme] for scheme in ("he", "large"))
    assert he == {"rate": 0.03, "at_edge": False, "accuracy": [0.2] * 3, "diverged": 0}
    assert lost == {"rate": 0.0003, "at_edge": True, "accuracy": [0.1] * 3, "diverged": 3}
    assert len(CLAIM.judge(m)) == 14
    *_, table = CLAIM.draw(m)
    assert [row[5] for row in table.rows[:4]] == ["0.03", "0.03", "0.03", "0.0003*"]
    assert table.rows[3][6] == "10.0, 10.0, 10.0 (diverged)"
    assert "the best of the learning rates 0.0003, 0.003, 0.03, 0.3" in table.caption


def test_histograms_are_whole_and_those_of_the_prediction(measured):
    for of in measured["histograms"].values():
        assert len(of["settings"]) == 13
        for setting in of["settings"]:
            for name in ("activations", "gradients", "predicted"):
                assert len(setting[name]) == 10
                assert all(abs(sum(bins) - 1000) <= 12 for bins in setting[name])
    one = measured["histograms"]["tanh"]["settings"][8]
    assert one["multiple"] == 1
    distance = np.abs(np.subtract(one["activations"], one["predicted"])).sum(1) / 2000
    assert distance.max() < 0.2
    assert one["std"] == pytest.approx(one["predicted_std"], rel=0.2)


def test_what_is_drawn_holds_the_numbers(measured):
    plot, widget, table = CLAIM.draw(measured)
    assert [type(item) for item in (plot, widget, table)] == [Plot, Widget, Table]
    points = [t for t in plot.figure.data if t.mode == "markers"]
    assert len(points) == 3 * 4 * 2
    he = measured["schemes"]["relu"]["he"]["gradient"]
    (drawn,) = [t for t in points if (t.name, t.xaxis, t.yaxis) == ("He", "x6", "y6")]
    assert list(drawn.y) == pytest.approx([v for seed in he for v in seed], rel=1e-3)
    assert widget.name == "init"
    assert list(widget.data["activations"]) == ["sigmoid", "tanh", "relu"]
    assert len(table.rows) == 12
    assert table.rows[0][:2] == ["sigmoid", "too small"]
    assert "learning rate 0.01 only" in table.caption
