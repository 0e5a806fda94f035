"""Adam against SGD: the sweep, its width, the first steps, verdicts."""

import copy
import json
import math

import pytest
import torch

from lecture4 import optim
from lecture4.claims import adam
from lecture4.lab import Lab, Plot, Table, Widget, verdict


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
    rates = [1e-3, 1e-2, 1e-1]
    for name, accuracy in (("sgd", [30, 40, 10]), ("adam", [39, 41, 39])):
        m["sweep"][name] = {"rates": rates, "val": [accuracy] * 3, "test": [accuracy] * 3}
    m["first"]["with"] = [[2.0] * 10] * 3
    m["first"]["without"] = [[2.5] * 10] * 3
    return m


def test_what_is_measured(measured):
    assert measured["seeds"] == [0, 1, 2]
    for sweep in measured["sweep"].values():
        assert len(sweep["rates"]) == 2
        assert sweep["rates"][1] / sweep["rates"][0] == pytest.approx(math.sqrt(10))
        assert [len(a) for a in sweep["test"]] == [2, 2, 2]
    first = measured["first"]
    assert [len(losses) for losses in first["with"] + first["without"]] == [10] * 6
    # the first loss is before any step, and the same
    assert [a[0] for a in first["with"]] == [a[0] for a in first["without"]]
    assert [a[1:] for a in first["with"]] != [a[1:] for a in first["without"]]


def test_the_steps_are_those_of_torch(lab):
    task = adam._Task(lab)
    twin = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    for name, make in adam.OPTIMIZERS.items():
        ours, _ = task.losses(lambda p, make=make: make(p, lr=1e-3), 8, seed=1)
        theirs, _ = task.losses(
            lambda p, name=name, make=make: twin[name](p, lr=1e-3, **make.keywords), 8, seed=1
        )
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_a_run_that_diverges_is_at_chance(lab):
    task = adam._Task(lab)
    assert task.accuracies(lambda p: optim.SGD(p, lr=1e20), 5, seed=0) == (10, 10)


def test_the_first_step_without_correction_is_too_long_by_the_root_of_ten():
    assert adam.factor(1) == pytest.approx(math.sqrt(10))
    assert adam.factor(10**6) == pytest.approx(1)
    assert adam.step_ratio(30) == pytest.approx([adam.factor(t) for t in range(1, 31)], rel=1e-9)


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        ([10, 10, 40, 10, 10], 0.1 + 0.1),  # 3 of the 30 points, on both sides
        ([40, 40, 40, 40, 40], 4),
        ([10, 38, 40, 38, 10], 2 + 2 / 28),  # 1 of the 28 points on both sides
        ([30, 40, 30, 40, 30], 4 * 0.3),
    ],
)
def test_the_width_of_a_curve(accuracy, expected):
    assert adam.width([1e-4, 1e-3, 1e-2, 1e-1, 1], accuracy) == pytest.approx(expected)


def test_the_best_rate_is_chosen_by_validation():
    sweep = {"rates": [1, 2], "val": [[5, 6], [5, 6]], "test": [[9, 1], [9, 2]]}
    assert adam.best_rate(sweep) == 2
    assert adam.reached(sweep) == [1, 2]


def test_the_verdict_follows_the_numbers(clear):
    assert verdict(adam.CLAIM.judge(clear)) == "holds"
    narrow, worse, wrong, faster = (copy.deepcopy(clear) for _ in range(4))
    narrow["sweep"]["adam"]["test"] = [[10, 41, 10]] * 3
    worse["sweep"]["sgd"]["test"] = [[30, 60, 10]] * 3
    wrong["ratio"][3] *= 1.01
    faster["first"]["without"] = [[1.5] * 10] * 3
    for finding, m in enumerate((narrow, worse, wrong, faster)):
        assert adam.CLAIM.judge(m)[finding].verdict == "does not hold"


def test_the_figures_hold_the_numbers(clear):
    sweep, table, first, widget = adam.CLAIM.draw(clear)
    assert [type(i) for i in (sweep, table, first, widget)] == [Plot, Table, Plot, Widget]
    lines = {t.name: t for t in sweep.figure.data if t.name}
    assert list(lines["Adam"].y) == [39, 41, 39]
    assert list(lines["SGD, momentum 0.9"].x) == [1e-3, 1e-2, 1e-1]
    bands = [(shape.x0, shape.x1) for shape in sweep.figure.layout.shapes]
    assert bands == [(1e-2, 1e-2), (1e-3, 1e-1)]
    assert table.rows[1] == ["Adam", "0.01", "41.0 % (41.0–41.0)", "2.00 (2.00–2.00)"]
    curves = {t.name: t for t in first.figure.data if t.name}
    assert list(curves["measured"].y) == pytest.approx(clear["ratio"], abs=1e-4)
    assert list(curves["without"].y) == [2.5] * 10
    json.dumps(widget.data)
