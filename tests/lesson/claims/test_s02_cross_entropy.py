import copy
import math
from functools import partial

import pytest
import torch
from claiming import SmallLab, judged, stored
from torch.nn import functional

from lecture4.byhand.functional import cross_entropy
from lecture4.lesson.claims import s02_cross_entropy as x
from lecture4.lesson.lab import mean_curve, verdict

INPUTS, LABELS = torch.randn(20, 6), torch.arange(20) % 4


@pytest.fixture(scope="module")
def kept():
    return stored(x, x.measure(SmallLab({500: 100})))


@pytest.fixture
def m(kept):
    return copy.deepcopy(kept)


def test_the_identity_holds_in_every_epoch(m):
    assert verdict(list(judged(x, m).values())) == "holds"
    for name in x.TARGETS:
        for run in m.runs[name]:
            assert len(run) == x.EPOCHS + 1
            assert all(row.loss == pytest.approx(row.entropy + row.kl) for row in run)


def test_training_lowers_kl_alone(m):
    for name, entropy in (("one-hot", 0.0), ("smoothed", 0.5003)):
        for run in m.runs[name]:
            assert [row.entropy for row in run] == pytest.approx([entropy] * len(run), abs=1e-4)
            assert run[-1].kl < 0.2 * run[0].kl
    assert all(run[-1].right < 0.95 for run in m.runs["smoothed"])


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_a_row_against_torch(alpha):
    p, loss = x.target(LABELS, 4, alpha), partial(cross_entropy, label_smoothing=alpha)
    scores = x.net(INPUTS, p, seed=0)(INPUTS).detach()
    row, log_q = x.row(scores, LABELS, p, loss), scores.double().log_softmax(1)
    expected = functional.cross_entropy(scores.double(), LABELS, label_smoothing=alpha)
    assert row.loss == pytest.approx(expected.item(), rel=1e-12)
    kl = functional.kl_div(log_q, p, reduction="batchmean")
    assert row.kl == pytest.approx(kl.item(), rel=1e-12)
    entropy = torch.distributions.Categorical(p).entropy().mean()
    assert row.entropy == pytest.approx(entropy.item(), abs=1e-6)
    right = log_q.exp()[range(20), LABELS].mean()
    assert row.right == pytest.approx(right.item(), rel=1e-12)


def test_a_loss_for_other_targets_leaves_a_gap():
    loss = partial(cross_entropy, label_smoothing=0.1)
    scores, other = torch.randn(20, 4), x.target(LABELS, 4, 0.2)
    assert x.row(scores, LABELS, other, loss).gap > 1e-3
    assert x.gradient_gap(scores, LABELS, other, loss) > 1e-3


def test_entropy_of_smoothed_targets_in_closed_form():
    p = x.target(torch.tensor([2]), 5, 0.3)
    assert p.sum().item() == pytest.approx(1)
    assert p[0, 2].item() == pytest.approx(0.76)
    entropy = torch.distributions.Categorical(p).entropy().item()
    assert x.smoothed_entropy(5, 0.3) == pytest.approx(entropy)
    assert x.smoothed_entropy(2, 1.0) == pytest.approx(math.log(2))


CHANGES = {
    "sum of parts, one-hot": lambda m: setattr(m.runs["one-hot"][1][7], "gap", 1e-6),
    "sum of parts, smoothed": lambda m: setattr(m.runs["smoothed"][1][7], "gap", 1e-6),
    "one-hot entropy": lambda m: setattr(m.runs["one-hot"][1][7], "entropy", 0.1),
    "smoothed entropy": lambda m: setattr(m.runs["smoothed"][1][7], "entropy", 0.1),
    "gradient": lambda m: setattr(m, "gradient_gap", 1e-3),
}


@pytest.mark.parametrize("name", CHANGES)
def test_verdict_follows_the_numbers(name, m):
    CHANGES[name](m)
    findings = judged(x, m)
    assert list(findings) == list(CHANGES)
    assert [n for n, f in findings.items() if f.verdict == "does not hold"] == [name]


def test_drawing_shows_what_was_measured(m):
    *parts, confidence, widget = x.draw(m)
    assert len(widget.data["scores"]) == len(widget.data["classes"]) == 4
    for plot, name in zip(parts, x.TARGETS, strict=True):
        entropy, kl, loss = (list(t.y) for t in plot.figure.data if t.name)
        assert loss == pytest.approx([h + d for h, d in zip(entropy, kl, strict=True)])
        assert kl == pytest.approx(mean_curve(m.curves(name, "kl")))
        assert f"KL(P ‖ Q) from {kl[0]:.3f} to {kl[-1]:.3f}" in plot.alt
    assert confidence.figure.layout.shapes[0].y0 == pytest.approx(0.91)
