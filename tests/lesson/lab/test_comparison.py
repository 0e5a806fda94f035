import math

import pytest

from lecture4.lesson.lab.comparison import Comparison, Variant, best_setting, lies_at_edge


@pytest.fixture
def compared():
    good = Variant([0.3, 0.5, 0.4], 1, False, [0.5, 0.51, 0.52], [[0.4, 0.5]] * 3, 0, 7)
    poor = Variant([0.2, 0.1, 0.1], 0, True, [0.2, 0.1, 0.1], [[0.2, 0.2]] + [[0.1, 0.1]] * 2, 2, 7)
    rates = [("", 0.01), ("", 0.1), ("", 1.0)]
    return Comparison({"ReLU": good, "tanh": poor}, rates, [0, 1, 2], 0.1, 10_000, 900)


def test_findings_compare_the_variants_seed_by_seed(compared):
    better = compared.better("ReLU", than="tanh")
    assert better.values == pytest.approx([30, 41, 42])
    assert better.verdict == "holds"
    assert compared.better("tanh", than="ReLU").verdict == "does not hold"
    assert compared.learned("ReLU").verdict == "holds"
    assert compared.learned("tanh", whose="the net").name == "the net learned"
    assert compared.learned("tanh").verdict != "holds"
    assert compared.as_good("ReLU", "ReLU").verdict == "holds"
    assert compared.as_good("tanh", "ReLU").verdict == "does not hold"
    assert compared.as_good("tanh", "ReLU", within=60).verdict == "holds"


def test_a_row_names_the_best_setting_and_every_seed(compared):
    assert compared.row("ReLU") == ["0.1", "50.0, 51.0, 52.0"]
    assert compared.row("tanh") == ["0.01*", "20.0, 10.0, 10.0 (diverged)"]
    assert "Best of 0.01, 0.1, 1 by" in compared.note
    compared.settings = compared.settings[:1]
    assert compared.note.startswith("Learning rate 0.01 only")


def test_plots_hold_validation_accuracies(compared):
    rates = compared.rates_plot("caption").figure
    assert [list(line.y) for line in rates.data] == [[30, 50, 40], [20, 10, 10]]
    assert rates.layout.xaxis.type == "log"
    assert list(rates.layout.xaxis.ticktext) == ["0.01", "0.1", "1"]
    curves = compared.curves_plot("caption")
    relu = next(trace for trace in curves.figure.data if trace.name == "ReLU")
    assert list(relu.x) == [450, 900]
    assert list(relu.y) == pytest.approx([40, 50])
    assert curves.alt.endswith("ReLU 51.0 (50.0–52.0) %; tanh 13.3 (10.0–20.0) %.")


@pytest.mark.parametrize(
    ("settings", "best", "edge"),
    [
        ([("", 0.1)], 0, False),
        ([("", 0.1), ("", 1.0)], 0, True),
        ([("", 0.1), ("", 1.0), ("", 10.0)], 1, False),
        ([("sgd", 0.1), ("sgd", 1.0), ("adam", 0.1), ("adam", 1.0)], 1, True),
        ([("sgd", 0.1), ("sgd", 1.0), ("sgd", 10.0), ("adam", 0.1)], 1, False),
        ([("sgd", 0.1), ("sgd", 1.0), ("sgd", 10.0), ("adam", 0.1)], 3, True),
    ],
)
def test_an_edge_is_that_of_the_optimizers_own_rates(settings, best, edge):
    assert lies_at_edge(settings, best) == edge
    validation = [0.1] * len(settings)
    validation[best] = 0.5
    assert best_setting(settings, validation) == best
    assert best_setting(settings, [math.pi] * len(settings)) == 0
