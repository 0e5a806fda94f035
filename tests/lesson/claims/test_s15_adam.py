"""Adam against SGD: the sweep, its width, the first steps, verdicts."""

import copy
import json
import math
from functools import partial

import pytest

from lecture4.byhand import optim
from lecture4.lesson.claims import s15_adam as adam
from lecture4.lesson.lab import Lab, Plot, Table, Widget, verdict


@pytest.fixture(scope="module")
def lab():
    return Lab(data="shapes")


@pytest.fixture(scope="module")
def measured(lab):
    """The quick budget, with fewer rates and steps."""
    small = {3: 3, 80: 15, 60: 10, (-3.5, 0.0): (-2, -1.5), (-5.0, -1.5): (-3, -2.5)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lab, "pick", lambda self, quick, full: small[quick])
        return json.loads(json.dumps(adam.CLAIM.measure(lab), allow_nan=False))


@pytest.fixture
def clear(measured):
    """As measured, but for accuracies that decide."""
    m = copy.deepcopy(measured)
    rates = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    for name, accuracy in (
        ("sgd", [0.1, 0.3, 0.4, 0.1, 0.1]),
        ("adam", [0.1, 0.39, 0.41, 0.39, 0.1]),
    ):
        m["sweep"][name] |= {"rates": rates, "val": [accuracy] * 3, "test": [accuracy] * 3}
    m["first"]["with"] = [[2.0] * 10] * 3
    m["first"]["without"] = [[2.5] * 10] * 3
    return m


def test_what_is_measured(measured):
    assert measured["seeds"] == [0, 1, 2]
    for sweep in measured["sweep"].values():
        assert len(sweep["rates"]) == 2
        assert sweep["rates"][1] / sweep["rates"][0] == pytest.approx(math.sqrt(10))
        assert [len(a) for a in sweep["test"]] == [2, 2, 2]
        assert all(0 <= a <= 1 for of_seed in sweep["test"] + sweep["val"] for a in of_seed)
    assert [s["title"] for s in measured["sweep"].values()] == [
        "SGD, Nesterov momentum 0.9", "Adam",
    ]  # fmt: skip
    first = measured["first"]
    assert [len(losses) for losses in first["with"] + first["without"]] == [10] * 6
    # the first loss is before any step, and the same
    assert [a[0] for a in first["with"]] == [a[0] for a in first["without"]]
    assert [a[1:] for a in first["with"]] != [a[1:] for a in first["without"]]


@pytest.mark.parametrize("name", adam.OPTIMIZERS)
def test_the_steps_are_those_of_the_configuration_by_torch(lab, name):
    task = adam._Task(lab)
    trained = []
    for words in (["formulas=byhand"], []):
        make = lab.assemble("model=mlp", f"optim={name}", *words)[0].optimizer
        trained.append(task.losses(partial(make, lr=1e-3), 8, seed=1)[0])
    ours, theirs = trained
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_a_run_that_diverges_is_at_chance(lab):
    task = adam._Task(lab)
    assert task.accuracies(lambda p: optim.SGD(p, lr=1e20), 5, seed=0) == (0.1, 0.1)


def test_rates_that_all_diverge_are_shown_and_decide_against_the_claim():
    small = {3: 3, 80: 4, 60: 4, (-3.5, 0.0): (20, 20.5), (-5.0, -1.5): (20, 20.5)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lab, "pick", lambda self, quick, full: small[quick])
        m = json.loads(json.dumps(adam.CLAIM.measure(Lab(data="shapes")), allow_nan=False))
    assert all(len(losses) < 4 for losses in m["first"]["with"])
    assert adam.widths(m, "adam") == adam.widths(m, "sgd") == [0, 0, 0]
    assert verdict(adam.CLAIM.judge(m)) == "does not hold"
    sweep, _, first, _ = adam.CLAIM.draw(m)
    assert all(shape.type == "line" for shape in sweep.figure.layout.shapes)  # no good rates
    assert "3 of 3 runs with correction diverged" in first.caption


def test_the_first_step_without_correction_is_too_long_by_the_root_of_ten():
    betas = (0.9, 0.999)
    assert adam.factor(1, betas) == pytest.approx(math.sqrt(10))
    assert adam.factor(10**6, betas) == pytest.approx(1)
    for betas in ((0.9, 0.999), (0.5, 0.9)):
        factors = [adam.factor(t, betas) for t in range(1, 31)]
        assert adam.step_ratio(30, betas) == pytest.approx(factors, rel=1e-9)


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        ([0.1, 0.1, 0.4, 0.1, 0.1], 0.1 + 0.1),  # a tenth of the gain, on both sides
        ([0.4, 0.4, 0.4, 0.4, 0.4], 4),
        ([0.1, 0.38, 0.4, 0.38, 0.1], 2 + 2 * 0.01 / 0.28),
        ([0.3, 0.4, 0.3, 0.4, 0.3], 4 * 0.3),
        ([0.1, 0.1, 0.1, 0.1, 0.1], 0),  # no rate learns anything, so none is good
        ([0.1, 0.09, 0.1, 0.09, 0.1], 0),
        ([0.1, 0.1, 0.12, 0.1, 0.1], 0.1 + 0.1),  # the level follows what is gained
    ],
)
def test_the_width_of_a_curve(accuracy, expected):
    assert adam.width([1e-4, 1e-3, 1e-2, 1e-1, 1], accuracy, 0.1) == pytest.approx(expected)


def test_the_best_rate_is_chosen_by_validation():
    sweep = {"rates": [1, 2], "val": [[5, 6], [5, 6]], "test": [[9, 1], [9, 2]]}
    assert adam.best_rate(sweep) == 2
    assert adam.reached(sweep) == [1, 2]


def test_a_run_that_diverges_early_does_not_look_better(clear):
    clear["first"]["without"] = [[1.0], [1.0] * 10, [5.0, 3.0]]
    filled = [1.0 + 9 * math.log(10), 10.0, 5.0 + 3.0 + 8 * 5.0]
    assert adam.first_losses(clear, "without") == pytest.approx([v / 10 for v in filled])
    assert adam.excess(clear)[0] > 0 > adam.excess(clear)[1]
    assert "2 of 3 runs without correction diverged" in adam.CLAIM.draw(clear)[2].caption


def test_the_verdict_follows_the_numbers(clear):
    assert verdict(adam.CLAIM.judge(clear)) == "holds"
    narrow, worse, wrong, faster, equal, chance = (copy.deepcopy(clear) for _ in range(6))
    narrow["sweep"]["adam"]["test"] = [[0.1, 0.1, 0.41, 0.1, 0.1]] * 3
    worse["sweep"]["sgd"]["test"] = [[0.1, 0.3, 0.6, 0.1, 0.1]] * 3
    wrong["ratio"][3] *= 1.01
    faster["first"]["without"] = [[1.5] * 10] * 3
    equal["first"]["without"] = [[2.05] * 10] * 3
    chance["sweep"]["sgd"]["test"] = [[0.1, 0.1, 0.101, 0.1, 0.1]] * 3
    cases = [(1, narrow), (2, worse), (3, wrong), (4, faster), (4, equal), (0, chance)]
    for finding, m in cases:
        assert adam.CLAIM.judge(m)[finding].verdict == "does not hold"


def test_the_figures_hold_the_numbers(clear):
    sweep, table, first, widget = adam.CLAIM.draw(clear)
    assert [type(i) for i in (sweep, table, first, widget)] == [Plot, Table, Plot, Widget]
    lines = {t.name: t for t in sweep.figure.data if t.name}
    assert list(lines["Adam"].y) == pytest.approx([10, 39, 41, 39, 10])
    assert list(lines["SGD, Nesterov momentum 0.9"].x) == [1e-4, 1e-3, 1e-2, 1e-1, 1]
    shapes = sweep.figure.layout.shapes
    assert [(s.x0, s.x1) for s in shapes if s.type == "rect"] == [(1e-2, 1e-2), (1e-3, 1e-1)]
    assert table.rows[1] == ["Adam", "0.01", "41.0 (41.0–41.0) %", "2.08 (2.08–2.08)"]
    assert "†" not in table.caption
    assert "*" not in table.caption
    curves = {t.name: t for t in first.figure.data if t.name}
    assert list(curves["measured"].y) == clear["ratio"]
    assert list(curves["without"].y) == [2.5] * 10
    assert "higher by 0.50 nats" in first.alt
    assert "diverged" not in first.caption
    assert "25 times" in widget.caption
    json.dumps(widget.data)


def test_the_figures_say_it_when_the_opposite_was_measured(clear):
    clear["first"]["without"] = [[1.5] * 10] * 3
    clear["sweep"]["adam"] |= {"val": [[0.4, 0.4, 0.3, 0.1, 0.1]] * 3}
    clear["sweep"]["adam"] |= {"test": clear["sweep"]["adam"]["val"]}
    sweep, table, first, _ = adam.CLAIM.draw(clear)
    assert "lower by 0.50 nats" in first.alt
    assert table.rows[1][1] == "0.0001*"
    assert table.rows[1][3].endswith("†")
    assert "may lie beyond" in table.caption
    assert "may be wider" in table.caption
    assert "Adam over at least 1.30 decades" in sweep.alt
