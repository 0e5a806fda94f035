import copy
import math

import pytest
import torch
from claiming import SmallLab, judged, stored
from torch.nn import functional

from lecture4.lesson.claims import s01_probabilities as x
from lecture4.lesson.lab import verdict
from lecture4.models import SoftmaxClassifier

NAMES = ["sum", "constant", "equal scores", *(f"start of the {name}" for name in x.MODELS)]


@pytest.fixture(scope="module")
def kept():
    return stored(x, x.measure(SmallLab()))


@pytest.fixture
def m(kept):
    return copy.deepcopy(kept)


def test_the_claim_holds_on_shapes(m):
    findings = judged(x, m)
    assert list(findings) == NAMES
    assert verdict(list(findings.values())) == "holds"
    assert 0 < m.sum_error < 1e-6


def test_the_formula_as_written_fails_at_the_limits_of_float32(m):
    written = {row.constant: row.as_written for row in m.shifts}
    assert written[1000] is written[-1000] is written[100] is written[-120] is None
    assert written[80] < 1e-4
    assert all(row.softmax < 1e-4 for row in m.shifts)


def test_scores_that_spread_begin_above_the_log_of_the_number_of_classes(m):
    assert all(start.redrawn > math.log(10) + 0.1 for start in m.starts["MLP"])


def test_the_loss_of_normal_scores_against_its_series():
    expected = x.expected_loss(10, seed=0)
    for sigma in (0.05, 0.1, 0.2):  # E log Σ exp s = log K + (1 − 1/K) σ²/2 + O(σ⁴)
        series = math.log(10) + 0.9 * sigma**2 / 2
        assert expected(torch.full((5,), sigma)) == pytest.approx(series, abs=1e-3)
    # The largest of ten normal numbers is 1.5388 on average.
    both = (math.log(10) + 20 * 1.5388) / 2
    assert expected(torch.tensor([0.0, 20.0])) == pytest.approx(both, rel=0.02)


@torch.no_grad()
def test_redrawn_last_layers_have_the_std_of_the_first():
    model = SoftmaxClassifier((50,), 10, init="xavier")
    inputs, labels = 5 * torch.randn(200, 50), torch.arange(200) % 10
    start = x.start(model, inputs, labels, 3, x.expected_loss(10, 0))
    assert start.redrawn == pytest.approx(start.expected, rel=0.05)
    assert start.expected > 1.5 * math.log(10)
    scores = x.untrained(model, 3)(inputs)
    assert start.loss == pytest.approx(functional.cross_entropy(scores, labels).item())
    scores *= 2 / start.spread
    assert start.scaled[-1] == pytest.approx(functional.cross_entropy(scores, labels).item())
    assert start.spread == pytest.approx(math.sqrt(50) * 5 * math.sqrt(2 / 60), rel=0.1)


def test_images_are_as_many_of_each_class():
    _, labels = x.balanced(SmallLab().assemble("model=softmax")[1], 10, 4)
    assert labels.bincount().tolist() == [4] * 10


def contradict(name, m):
    if name == "sum":
        m.sum_error = 1e-5
    elif name == "constant":
        m.shifts[3].softmax = 0.1
    elif name == "equal scores":
        m.equal = math.log(9)
    else:
        for start in m.starts[name.removeprefix("start of the ")]:
            start.loss, start.redrawn = start.loss + 0.2, start.redrawn + 0.2


@pytest.mark.parametrize("name", NAMES)
def test_verdict_follows_the_numbers(name, m):
    contradict(name, m)
    assert [n for n, f in judged(x, m).items() if f.verdict == "does not hold"] == [name]


def test_drawing_shows_what_was_measured(m):
    losses, table, shifts = x.draw(m)
    traces = {trace.name: list(trace.y) for trace in losses.figure.data if trace.name}
    assert traces["predicted"] == m.starts["softmax classifier"][0].predicted
    assert losses.figure.layout.shapes[0].y0 == math.log(10)
    for name, starts in m.starts.items():
        assert traces[f"{name} untrained"] == [start.loss for start in starts]
    for row, starts in zip(table.rows, m.starts.values(), strict=True):
        loss = [start.loss for start in starts]
        assert row[2] == f"{sum(loss) / 10:.3f} ({min(loss):.3f}–{max(loss):.3f})"
    written, subtracted, bound = (trace.y for trace in shifts.figure.data)
    assert math.isnan(written[0])
    assert max(y for y in subtracted if y > 0) < min(bound)
    assert "for c = -150, -140" in shifts.alt
