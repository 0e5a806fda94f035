"""Adam against SGD: the sweep, its width, the first steps, verdicts."""

import copy
import json
import math
from functools import partial

import pytest
from claiming import SmallLab, beside, judged, stored

from lecture4.byhand import optim
from lecture4.lesson.claims import s15_adam as adam
from lecture4.lesson.lab import verdict

SGD, ADAM = (-3.5, 0.0), (-5.0, -1.5)  # decades of the rates


@pytest.fixture(scope="module")
def measured():
    """The quick budget, with fewer rates and steps."""
    lab = SmallLab({80: 15, 60: 10, SGD: (-2, -1.5), ADAM: (-3, -2.5)})
    return stored(adam, adam.measure(lab))


def swept(accuracies, rates=(1e-4, 1e-3, 1e-2, 1e-1, 1.0)):
    """A sweep of three seeds with these accuracies, whose chance is 0.1."""

    class Told(adam.Task):
        def __init__(self):
            self.classes = 10

        def accuracies(self, make, steps, seed):
            return dict(zip(rates, accuracies, strict=True))[make.keywords["lr"]]

    settings = partial(optim.SGD, momentum=0.9)
    return Told().sweep(settings, list(rates), 1, [0, 1, 2])


def both(*accuracies):
    """The same on validation and test images."""
    return swept([(a, a) for a in accuracies])


@pytest.fixture
def clear(measured):
    """Measurements that decide."""
    m = copy.deepcopy(measured)
    m.sgd, m.adam = both(0.1, 0.3, 0.4, 0.1, 0.1), both(0.1, 0.39, 0.41, 0.39, 0.1)
    m.losses = {"with": [[2.0] * 10] * 3, "without": [[2.5] * 10] * 3}
    return m


def test_adam_beside_the_published_methods(clear):
    [number] = beside(adam, clear)
    assert number.ours == pytest.approx([1] * 3)
    assert number.direction == "disagrees"


def test_what_is_measured(measured):
    assert measured.seeds == [0, 1, 2]
    for sweep in (measured.sgd, measured.adam):
        assert sweep.rates[1] / sweep.rates[0] == pytest.approx(math.sqrt(10))
        assert [len(seed) for seed in sweep.test] == [2, 2, 2]
        assert all(0 <= value <= 1 for seed in sweep.test for value in seed)
    assert [measured.sgd.title, measured.adam.title] == ["SGD, momentum 0.9", "Adam"]
    corrected, without = measured.losses["with"], measured.losses["without"]
    assert [len(losses) for losses in corrected + without] == [10] * 6
    for a, b in zip(corrected, without, strict=True):
        assert a[0] == b[0]  # before any step
        assert a[1:] != b[1:]


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_steps_are_those_of_the_configuration_by_torch(name):
    lab, trained = SmallLab(), []
    task = adam.Task(lab)
    for words in (["formulas=byhand"], []):
        make = lab.assemble("model=mlp", f"optim={name}", *words)[0].optimizer
        trained.append(task.train(partial(make, lr=1e-3), 8, seed=1)[0])
    ours, theirs = trained
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_rates_that_all_diverge_are_shown_and_decide_against_the_claim():
    lab = SmallLab({80: 4, 60: 4, SGD: (20, 20.5), ADAM: (20, 20.5)})
    m = stored(adam, adam.measure(lab))
    assert m.diverged["with"] == 3
    for losses in m.losses["with"]:
        assert losses[-1] == max(losses) >= math.log(10)
    assert m.adam.test == m.sgd.test == [[0.1, 0.1]] * 3  # chance
    assert m.adam.widths == m.sgd.widths == [0, 0, 0]
    assert verdict(list(adam.judge(m))) == "does not hold"
    sweep, _, _, first, _ = adam.draw(m)
    assert all(shape.type == "line" for shape in sweep.figure.layout.shapes)  # no good rates
    assert "Diverged: 3 with correction" in first.caption


def test_the_first_step_without_correction_is_too_long_by_the_root_of_ten():
    assert adam.factor(1, (0.9, 0.999)) == pytest.approx(math.sqrt(10))
    assert adam.factor(10**6, (0.9, 0.999)) == pytest.approx(1)
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
    assert both(*accuracy).widths == pytest.approx([expected] * 3)


def test_the_best_rate_is_chosen_by_validation():
    sweep = swept([(0.5, 0.9), (0.6, 0.2)], rates=(1, 2))
    assert sweep.best == 1
    assert sweep.reached == [0.2] * 3


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"adam": both(0.1, 0.1, 0.41, 0.1, 0.1)}, "range of good rates"),
        ({"sgd": both(0.1, 0.3, 0.6, 0.1, 0.1)}, "best accuracy"),
        ({"ratio": [1.01 * math.sqrt(10)]}, "length of uncorrected steps"),
        ({"losses": {"with": [[2.0]] * 3, "without": [[2.05]] * 3}}, "loss of uncorrected steps"),
        (
            {"sgd": both(0.1, 0.1, 0.101, 0.1, 0.1)},
            "the worse optimizer at its best rate learned",
        ),
    ],
)
def test_the_verdict_follows_the_numbers(clear, change, finding):
    clear.test_images = 2000
    assert verdict(list(adam.judge(clear))) == "holds"
    vars(clear).update(change)
    assert judged(adam, clear)[finding].verdict == "does not hold"


def test_the_figures_hold_the_numbers(clear):
    sweep, table, lengths, first, widget = adam.draw(clear)
    curves = [t for t in sweep.figure.data if t.name]
    assert list(curves[1].y) == pytest.approx([10, 39, 41, 39, 10])
    assert list(curves[0].x) == [1e-4, 1e-3, 1e-2, 1e-1, 1]
    shapes = sweep.figure.layout.shapes
    assert [(s.x0, s.x1) for s in shapes if s.type == "rect"] == [(1e-2, 1e-2), (1e-3, 1e-1)]
    assert table.rows[1][1:] == ["0.01", "41.0 (41.0–41.0) %", "2.08 (2.08–2.08)"]
    measured, law = lengths.figure.data
    assert list(measured.y) == pytest.approx(clear.ratio)
    assert list(law.y) == pytest.approx(clear.ratio)
    without = [t for t in first.figure.data if t.name == "without correction"]
    assert list(without[0].y) == [2.5] * 10
    assert "25 times" in widget.caption
    json.dumps(widget.data)


def test_a_range_that_touches_the_rates_tried_is_marked(clear):
    clear.adam = both(0.4, 0.4, 0.3, 0.1, 0.1)
    _, table, *_ = adam.draw(clear)
    assert table.rows[1][1] == "0.0001*"
    assert table.rows[1][3].endswith("*")
    assert "may lie beyond" in table.caption
