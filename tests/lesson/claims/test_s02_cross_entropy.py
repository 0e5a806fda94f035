import copy
import json
import math

import pytest
import torch
from torch.nn import functional

from lecture4.lesson.claims import s02_cross_entropy as cross_entropy
from lecture4.lesson.lab import Lab, Plot, Widget, verdict

CLAIM = cross_entropy.CLAIM


@pytest.fixture(scope="module")
def measured():
    lab = Lab(data="shapes")
    lab.pick = lambda quick, full: 100  # images
    return json.loads(json.dumps(CLAIM.measure(lab), allow_nan=False))


def test_identity_holds_at_every_logged_step(measured):
    assert verdict(CLAIM.judge(measured)) == "holds"
    for run in measured["runs"].values():
        for loss, entropy, kl in zip(run["cross_entropy"], run["entropy"], run["kl"], strict=True):
            assert loss == pytest.approx([h + d for h, d in zip(entropy, kl, strict=True)])
            assert len(loss) == len(measured["epochs"])


def test_training_lowers_kl_alone(measured):
    for name, entropy in (("one-hot", 0.0), ("smoothed", 0.5003)):
        run = measured["runs"][name]
        assert all(v == pytest.approx(entropy, abs=1e-4) for h in run["entropy"] for v in h)
        assert all(kl[-1] < 0.2 * kl[0] for kl in run["kl"])
    assert all(right[-1] < 0.95 for right in measured["runs"]["smoothed"]["right"])


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_a_logged_row_against_torch(alpha):
    x, labels = torch.randn(20, 6), torch.arange(20) % 4
    model = cross_entropy._net(x, 4, seed=0)
    target = cross_entropy._target(labels, 4, alpha)
    row = cross_entropy._log(model, x, labels, target, alpha)
    scores = model(x).detach().double()
    log_q = scores.log_softmax(1)
    loss = functional.cross_entropy(scores, labels, label_smoothing=alpha)
    assert row["cross_entropy"] == pytest.approx(loss.item(), rel=1e-12)
    kl = functional.kl_div(log_q, target, reduction="batchmean")
    assert row["kl"] == pytest.approx(kl.item(), rel=1e-12)
    entropy = torch.distributions.Categorical(target).entropy().mean()
    assert row["entropy"] == pytest.approx(entropy.item(), abs=1e-6)
    right = log_q.exp()[range(20), labels].mean()
    assert row["right"] == pytest.approx(right.item(), rel=1e-12)


def test_gap_sees_a_loss_that_is_not_that_of_the_target():
    x, labels = torch.randn(20, 6), torch.arange(20) % 4
    model = cross_entropy._net(x, 4, seed=0)
    other = cross_entropy._target(labels, 4, 0.2)
    assert cross_entropy._log(model, x, labels, other, 0.1)["gap"] > 1e-3


def test_entropy_of_smoothed_targets_in_closed_form():
    p = cross_entropy._target(torch.tensor([2]), 5, 0.3)
    assert p.sum().item() == pytest.approx(1)
    assert p[0, 2].item() == pytest.approx(0.76)
    entropy = torch.distributions.Categorical(p).entropy().item()
    assert cross_entropy._smoothed_entropy(5, 0.3) == pytest.approx(entropy)
    assert cross_entropy._smoothed_entropy(2, 1.0) == pytest.approx(math.log(2))


def test_verdict_follows_the_numbers(measured):
    def change(edit):
        contradicting = copy.deepcopy(measured)
        edit(contradicting)
        return [finding.verdict for finding in CLAIM.judge(contradicting)]

    def put(name, key, value):
        return lambda m: m["runs"][name][key][1].__setitem__(7, value)

    assert change(put("one-hot", "gap", 1e-6))[0] == "does not hold"
    assert change(put("smoothed", "gap", 1e-6))[1] == "does not hold"
    assert change(put("one-hot", "entropy", 0.1))[2] == "does not hold"
    assert change(put("smoothed", "entropy", 0.1))[3] == "does not hold"
    assert change(lambda m: m["gradient_gap"].update(smoothed=1e-3))[4] == "does not hold"


def test_drawing_shows_what_was_measured(measured):
    *plots, widget = CLAIM.draw(measured)
    assert all(isinstance(item, Plot) for item in plots)
    assert isinstance(widget, Widget)
    assert len(widget.data["scores"]) == len(widget.data["classes"]) == 4
    for plot, name in zip(plots[:2], measured["runs"], strict=True):
        entropy, kl, _, loss = plot.figure.data
        total = [h + d for h, d in zip(entropy.y, kl.y, strict=True)]
        assert total == pytest.approx(list(loss.y))
        mean = sum(run[-1] for run in measured["runs"][name]["cross_entropy"]) / 3
        assert f"the loss, {mean:.3f}" in plot.alt
        kls = measured["runs"][name]["kl"]
        first, last = (sum(run[i] for run in kls) / 3 for i in (0, -1))
        assert f"KL {first:.3f} and {last:.3f}" in plot.alt
    assert plots[2].figure.layout.shapes[0].y0 == pytest.approx(0.91)
