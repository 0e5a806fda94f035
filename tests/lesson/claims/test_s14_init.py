import copy

import numpy as np
import pytest
from claiming import SmallLab, judged, stored

from lecture4.lesson.claims import propagation
from lecture4.lesson.claims import s14_init as init
from lecture4.lesson.lab import Plot, Table, Widget


class ScriptedLab(SmallLab):
    """Composes once for all nets: scripted trainings have the same length."""

    def compose(self, *overrides, seed=None):
        words = [word for word in overrides if not word.startswith(("model.", "optim."))]
        return super().compose(*words, seed=seed)


def script(overrides, seed):
    """The rate 0.03 is best; too big diverges."""
    if overrides["model.init"] == "large":
        return None
    return 0.2 if overrides["optim.lr"] == "0.03" else 0.15


@pytest.fixture(scope="module")
def measured():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(init, "MULTIPLES", [0.1, 1.0])
        return stored(init, init.measure(ScriptedLab(script=script)))


@pytest.fixture
def m(measured):
    return copy.deepcopy(measured)


def test_what_is_measured_lies_along_the_prediction(measured):
    nets = [*init.ADVISED.items(), ("sigmoid", "large"), ("tanh", "large")]
    for points, line in (pair for a, s in nets for pair in measured.layers[a][s].panels):
        logs = np.log10(points).mean(1)  # over seeds
        np.testing.assert_allclose(logs, np.log10(line), atol=0.35)


def test_the_findings_on_a_small_set(measured):
    found = judged(init, measured)
    assert len(found) == 11  # no training is judged by one seed
    small = [f for name, f in found.items() if name.startswith("too small")]
    assert [f.verdict for f in small] == ["holds"] * 2
    explodes = [f for name, f in found.items() if name.startswith("too big: gradient")]
    assert [f.verdict for f in explodes] == ["does not hold"] * 3
    assert all(f.mean > 2 for f in explodes)  # larger, not smaller
    assert found["just right: sigmoid, Xavier"].verdict == "does not hold"
    assert found["just right: ReLU, He"].verdict == "holds"
    assert found["He's factor 2"].mean == pytest.approx(-1.35, abs=0.4)
    assert found["prediction"].verdict == "holds"


def test_the_gap_to_the_prediction_is_the_worst_of_all_layers(m):
    of = m.layers["tanh"]["xavier"]
    of.gradient[4][1] = 100 * of.predicted.gradient[4]
    of.spread[9][2] = of.predicted.spread[9] / 1000
    found = judged(init, m)["prediction"]
    assert found.values[1:] == pytest.approx([2, 3])
    assert found.values[0] < 0.5
    assert found.verdict != "holds"
    assert "at most 3.00 powers of ten apart" in next(init.draw(m)).alt


def test_what_float64_cannot_tell_from_zero_is_no_gap(m):
    before = init.gaps(m)
    of = m.layers["sigmoid"]["small"]
    assert of.predicted.spread[9] < 1e-15
    of.spread[9] = [0.0] * 3
    assert init.gaps(m) == before
    of.spread[9] = [1e-12, 0.0, 0.0]
    assert init.gaps(m)[0] == pytest.approx(3)


def layers(m, activation, scheme, **values):
    for name, value in values.items():
        setattr(m.layers[activation][scheme], name, [[value] * 3] * 10)


@pytest.mark.parametrize(
    ("change", "finding", "expected"),
    [
        (lambda m: layers(m, "tanh", "small", spread=1.0), "too small: activations", False),
        (lambda m: layers(m, "relu", "small", gradient=0.1), "too small: gradient", False),
        (lambda m: layers(m, "sigmoid", "large", flat=0.2), "too big: sigmoid saturates", False),
        (lambda m: layers(m, "sigmoid", "large", flat=0.8), "too big: sigmoid saturates", True),
        (lambda m: layers(m, "tanh", "large", flat=0.2), "too big: tanh saturates", False),
        (
            lambda m: layers(m, "sigmoid", "large", gradient=1e-30),
            "too big: gradient of sigmoid",
            True,
        ),
        (lambda m: layers(m, "tanh", "large", gradient=1e-5), "too big: gradient of tanh", True),
        (lambda m: layers(m, "relu", "large", gradient=0.0), "too big: gradient of ReLU", True),
        (
            lambda m: m.layers["sigmoid"].update(xavier=m.layers["relu"]["he"]),
            "just right: sigmoid, Xavier",
            True,
        ),
        (
            lambda m: setattr(
                m.layers["relu"]["he"], "spread", [[10.0**-layer] * 3 for layer in range(10)]
            ),
            "just right: ReLU, He",
            False,
        ),
        (lambda m: setattr(m.halved, "rms", [[1.0] * 3] * 10), "He's factor 2", False),
        (
            lambda m: setattr(m.layers["tanh"]["xavier"].predicted, "gradient", [1.0] * 10),
            "prediction",
            False,
        ),
    ],
)
def test_other_measurements_are_judged_otherwise(m, change, finding, expected):
    change(m)
    assert judged(init, m)[finding].verdict == ("holds" if expected else "does not hold")


def test_trainings_of_three_seeds_are_judged(m):
    m.trained.seeds, m.trained.tested = [0, 1, 2], 10_000
    for name, of in m.trained.variants.items():
        lead = 0.1 * name.endswith("too big") + 0.3 * (name == "ReLU, He")
        of.accuracy = [0.1 + lead, 0.11 + lead, 0.12 + lead]

    def trained():
        return [f for name, f in judged(init, m).items() if "better" in name]

    assert [f.verdict for f in trained()] == ["does not hold", "does not hold", "holds"]
    assert trained()[-1].values == pytest.approx([20, 20, 20])
    m.trained.chance = 0.5
    assert trained()[-1].values == pytest.approx([-10, -9, -8])


def test_trainings_take_the_best_of_the_rates_and_may_diverge(m):
    m.trained = init.train(ScriptedLab(script=script, budget="full"))
    assert m.trained.row("ReLU, He") == ["0.03", "20.0, 20.0, 20.0"]
    assert len(judged(init, m)) == 14
    *_, table = init.draw(m)
    assert [row[5] for row in table.rows[:4]] == ["0.03", "0.03", "0.03", "0.0003*"]
    assert table.rows[3][6] == "10.0, 10.0, 10.0 (diverged)"
    assert "Best of 0.0003, 0.003, 0.03, 0.3" in table.caption


@pytest.mark.slow
def test_ten_layers_are_trained():
    lab = SmallLab({4_500: 120})
    made = init.train(lab)
    assert len(lab.commands) == len(made.variants) == 12
    assert "model.activation=sigmoid model.init=small optim.lr=0.01 seed=0" in lab.commands[0]


def test_what_is_drawn_holds_the_numbers(measured):
    plot, widget, table = init.draw(measured)
    assert [type(item) for item in (plot, widget, table)] == [Plot, Widget, Table]
    points = [t for t in plot.figure.data if t.mode == "markers"]
    assert len(points) == 3 * 4 * 2
    he = measured.layers["relu"]["he"].gradient
    (drawn,) = [t for t in points if (t.name, t.xaxis, t.yaxis) == ("He", "x6", "y6")]
    assert list(drawn.y) == pytest.approx(np.ravel(he))
    assert list(drawn.x[:4]) == [1, 1, 1, 2]
    assert widget.name == "init"
    of = widget.data["activations"]
    assert list(of) == ["sigmoid", "tanh", "relu"]
    assert of["relu"]["range"] == propagation.RANGES["relu"]
    assert [setting["multiple"] for setting in of["tanh"]["settings"]] == [0.1, 1.0]
    assert len(table.rows) == 12
    assert table.rows[0][:2] == ["sigmoid", "too small"]
    assert "Learning rate 0.01 only" in table.caption
