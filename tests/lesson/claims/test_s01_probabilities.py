import copy
import json
import math

import pytest
import torch
from torch.nn import functional

from lecture4.lesson.claims import s01_probabilities as probabilities
from lecture4.lesson.lab import Lab, verdict

CLAIM = probabilities.CLAIM


@pytest.fixture(scope="module")
def measured():
    return json.loads(json.dumps(CLAIM.measure(Lab(data="shapes")), allow_nan=False))


def test_softmax_sums_to_one_and_forgets_a_constant(measured):
    assert [f.verdict for f in CLAIM.judge(measured)[:2]] == ["holds", "holds"]
    assert 0 < measured["sum_error"] < 1e-6


def test_the_formula_as_written_ends_where_float32_does(measured):
    written = {row["constant"]: row["written"] for row in measured["shifts"]}
    assert written[1000] is written[-1000] is written[100] is written[-120] is None
    assert written[80] < 1e-4
    assert all(row["change"] < 1e-4 for row in measured["shifts"])


def test_a_small_w_begins_at_the_log_of_the_number_of_classes(measured):
    start = measured["start"]
    assert start["softmax"]["loss"] == pytest.approx([math.log(10)] * 10, abs=0.05)
    assert all(loss > math.log(10) + 0.1 for loss in start["mlp"]["redrawn"])


def test_the_loss_of_normal_scores_against_its_series():
    expected = probabilities._expected_loss(10, seed=0)
    for sigma in (0.05, 0.1, 0.2):  # E log Σ exp s = log K + (1 − 1/K) σ²/2 + O(σ⁴)
        series = math.log(10) + 0.9 * sigma**2 / 2
        assert expected(torch.full((5,), sigma)) == pytest.approx(series, abs=1e-3)
    assert expected(torch.tensor([0.0, 20.0])) == pytest.approx(
        (math.log(10) + 20 * 1.5388) / 2,
        rel=0.02,  # the largest of ten normal numbers: 1.5388
    )


def test_redrawn_last_layers_have_the_std_of_the_first():
    torch.manual_seed(0)
    features = torch.randn(200, 50)
    net = probabilities._Untrained(features, features @ torch.randn(50, 10), std=1.0)
    labels = torch.arange(200) % 10
    loss = probabilities._mean_loss(net, labels, seed=0)
    assert loss == pytest.approx(probabilities._expected_loss(10, 0)(net.sigma), abs=1)
    direct = functional.cross_entropy(net.scores, labels).item()
    assert probabilities._loss(net.scores, labels) == pytest.approx(direct, rel=1e-5)


def test_images_are_as_many_of_each_class():
    lab = Lab(data="shapes")
    _, data = lab.assemble("model=softmax")
    _, labels = probabilities._balanced(data, 10, 7)
    assert labels.bincount().tolist() == [7] * 10


def test_verdict_follows_the_numbers(measured):
    assert verdict(CLAIM.judge(measured)) == "holds"

    def change(edit):
        contradicting = copy.deepcopy(measured)
        edit(contradicting)
        return [finding.verdict for finding in CLAIM.judge(contradicting)]

    def louder(name, key):
        return lambda m: m["start"][name].update({key: [v + 0.2 for v in m["start"][name][key]]})

    assert change(lambda m: m.update(sum_error=1e-5))[0] == "does not hold"
    assert change(lambda m: m["shifts"][3].update(change=0.1))[1] == "does not hold"
    assert change(louder("softmax", "loss"))[2] == "does not hold"
    assert change(louder("mlp", "redrawn"))[3] == "does not hold"
    assert change(louder("convnet", "redrawn"))[4] == "does not hold"


def test_drawing_shows_what_was_measured(measured):
    loss, table, shift = CLAIM.draw(measured)
    loss, shift = loss.figure, shift.figure
    predicted, _, *models = loss.data
    assert list(predicted.y) == measured["scaled"]["expected"]
    for trace, start in zip(models, measured["start"].values(), strict=True):
        assert list(trace.y) == start["loss"]
    assert loss.layout.shapes[0].y0 == math.log(10)
    for row, start in zip(table.rows, measured["start"].values(), strict=True):
        low, high = min(start["loss"]), max(start["loss"])
        assert row[2] == f"{sum(start['loss']) / 10:.3f} ({low:.3f}–{high:.3f})"
    written, subtracted, bound = shift.data
    assert None in written.y
    assert max(y for y in subtracted.y if y) < min(bound.y)


def test_drawing_says_where_the_measured_loss_leaves_ln_k(measured):
    m = copy.deepcopy(measured)
    log_k, spreads = math.log(10), m["scaled"]["spread"]
    for wrong, words in (
        ([log_k + (s >= 0.5) for s in spreads], f"at σ = 0.5, and ends at {log_k + 1:.3f}"),
        ([log_k - (s >= 0.1) for s in spreads], "at σ = 0.1, and ends"),
        ([log_k] * len(spreads), "stays within 0.05 nats of it up to σ = 2"),
    ):
        m["scaled"]["loss"] = [wrong] * 10
        assert words in CLAIM.draw(m)[0].alt


def test_drawing_needs_no_number_of_the_formula_as_written(measured):
    m = copy.deepcopy(measured)
    for row in m["shifts"]:
        row["written"] = None
    assert "no numbers" in CLAIM.draw(m)[2].alt
