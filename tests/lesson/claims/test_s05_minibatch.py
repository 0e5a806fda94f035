import copy
import json
import math

import pytest
import torch
from torch.nn import functional

from lecture4.data.randomness import generator
from lecture4.lesson.claims import s05_minibatch as minibatch
from lecture4.lesson.lab import Lab, Table, verdict

CLAIM = minibatch.CLAIM


@pytest.fixture(scope="module")
def measured():
    lab, n = Lab(data="shapes"), 1024
    small = {4096: n, (4, 512): (8, 128), 5: 3}
    lab.pick = lambda quick, full: [32, 128, n] if isinstance(quick, list) else small[quick]
    return json.loads(json.dumps(CLAIM.measure(lab), allow_nan=False))


def examples(n=256):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, 12, generator=draw)
    return x, functional.one_hot(torch.arange(n) % 3, 3).float()


def test_the_gradient_is_that_of_autograd():
    x, y = examples()
    weight = torch.randn(3, 12, requires_grad=True)
    functional.cross_entropy(x @ weight.T, y).backward()
    by_hand = minibatch._gradient(weight.detach(), x, y)
    torch.testing.assert_close(by_hand, weight.grad)


def test_deviation_and_norm_are_those_of_the_images_gradients():
    x, y = examples()
    weight, _, _ = minibatch._descend(x, y, minibatch.UNBIASED, 0.006, 1, seed=3)
    each = torch.stack([minibatch._gradient(weight, x[[i]], y[[i]]) for i in range(len(x))])
    full = each.mean(0)
    found = minibatch._gradients(x, y, 3, passes=1, batches=4)
    assert found["norm"] == pytest.approx(full.norm().item(), rel=1e-4)
    deviation = (each - full).square().sum((1, 2)).mean().sqrt().item()
    assert found["deviation"] == pytest.approx(deviation, rel=1e-4)
    assert found["batches"] == [1, 2, 4]


def test_spread_is_that_of_the_batches():
    x, y = examples()
    error, full = torch.softmax(x[:, :3], 1) - y, torch.zeros(3, 12)
    order = torch.randperm(256, generator=generator(0))
    found = minibatch._spread(x, error, full, [order])
    assert found["sizes"] == [32, 64, 128]
    for size, spread in zip(found["sizes"], found["spread"], strict=True):
        squares = [(error[b].T @ x[b] / size).square().sum() for b in order.split(size)]
        assert spread == pytest.approx(math.sqrt(sum(squares) / len(squares)), rel=1e-5)


def test_full_batch_is_gradient_descent():
    x, y = examples()
    weight, losses, _ = minibatch._descend(x, y, len(x), 0.5, 2, seed=1)
    other = (1e-3 * torch.randn(3, 12, generator=generator(1))).requires_grad_()
    for _ in range(2):
        loss = functional.cross_entropy(x @ other.T, y)
        (gradient,) = torch.autograd.grad(loss, other)
        other = (other - 0.5 * gradient).detach().requires_grad_()
    torch.testing.assert_close(weight, other.detach())
    assert losses[-1] < losses[0] == pytest.approx(math.log(3), abs=0.01)


def test_each_image_is_drawn_once_in_an_epoch(monkeypatch):
    x, y = examples()
    seen = []
    monkeypatch.setattr(
        minibatch, "_gradient", lambda weight, x, y: seen.append(x) or torch.zeros_like(weight)
    )
    minibatch._descend(x, y, 32, 0.1, 1, seed=0)
    assert len(seen) == 8
    torch.testing.assert_close(torch.cat(seen).sort(0).values, x.sort(0).values)


def test_epochs_to_a_loss():
    assert minibatch._epochs_to([4.0, 2.0, 1.0], 3.0) == 0.5
    assert minibatch._epochs_to([4.0, 2.0, 1.0], 1.0) == 2
    assert minibatch._epochs_to([4.0, 2.0, 1.0], 0.5) == 3
    assert minibatch._epochs_to([4.0, 2.0, 1.0], 5.0) == 0
    assert minibatch._epochs_to([4.0, 4.0, 4.0], 5.0) == 3  # it has learned nothing


@pytest.mark.parametrize(
    ("best", "tried"),
    [
        (0.012, [0.006, 0.012, 0.024]),
        (0.048, [0.006, 0.012, 0.024, 0.048, 0.096]),
        (0.003, [0.0015, 0.003, 0.006, 0.012]),
    ],
)
def test_rates_are_tried_until_the_best_is_no_edge(best, tried):
    asked = []

    def last_loss(rate):
        asked.append(rate)
        return abs(math.log(rate / best))

    assert minibatch._climb(last_loss) == best
    assert sorted(asked) == tried


def test_rates_that_diverge_are_left_and_the_search_for_one_ends():
    found = minibatch._climb(lambda rate: 1 / rate if rate < 0.004 else math.inf)
    assert found == 0.003
    asked = []
    minibatch._climb(lambda rate: asked.append(rate) or math.inf)
    assert len(asked) == minibatch.MOST_RATES
    assert minibatch._climb(lambda rate: -rate) == pytest.approx(0.012 * 2**6)  # and one below


def test_a_training_that_diverges_has_learned_nothing(monkeypatch, measured):
    monkeypatch.setattr(
        minibatch, "_descend", lambda *args: (None, [2.3, math.nan, math.inf], [0.1] * 2)
    )
    lost = minibatch._training(Lab(), *examples(), 32, 2, [0, 1, 2])
    lost = json.loads(json.dumps(lost, allow_nan=False))
    assert lost["losses"] == [[2.3] * 3] * 3
    assert lost["at_edge"] or lost["rate"] == minibatch.RATE
    assert {loss for _, loss in lost["tried"]} == {None}
    m = copy.deepcopy(measured)
    m["training"][0]["losses"] = [[2.3] * 4] * 3
    assert [f.verdict for f in CLAIM.judge(m)[4:6]] == ["does not hold"] * 2
    m["training"][-1]["losses"] = [[2.3] * 4] * 3
    assert CLAIM.judge(m)[5].verdict == "does not hold"
    assert CLAIM.draw(m)


def test_gradients_are_unbiased_and_their_spread_is_predicted(measured):
    assert [f.verdict for f in CLAIM.judge(measured)[:4]] == ["holds"] * 4
    for run in measured["training"]:
        last = sum(losses[-1] for losses in run["losses"]) / 3
        tried = dict(run["tried"])
        assert tried[run["rate"]] == min(tried.values()) == pytest.approx(last)
        assert run["at_edge"] == (run["rate"] in (min(tried), max(tried)))


def test_verdict_follows_the_numbers(measured):
    def change(edit):
        contradicting = copy.deepcopy(measured)
        for part in contradicting["gradients"]:
            edit(part)
        return [finding.verdict for finding in CLAIM.judge(contradicting)]

    def scaled(how, power, factor=1.0):
        def edit(part):
            spread = part["spread"][how]
            pairs = zip(spread["sizes"], spread["spread"], strict=True)
            spread["spread"] = [factor * v * (n / 256) ** power for n, v in pairs]

        return edit

    assert change(lambda part: part["distance"].__setitem__(-1, part["norm"]))[0] != "holds"
    assert change(scaled("with", -0.2))[1] == "does not hold"
    assert change(scaled("with", 0, 1.3))[2] == "does not hold"
    assert change(scaled("without", 0, 1.3))[3] == "does not hold"

    slow = copy.deepcopy(measured)
    slow["training"][-1]["losses"] = [[2.3, 0.1, 0.1, 0.1]] * 3
    assert [f.verdict for f in CLAIM.judge(slow)[4:]] == ["does not hold"] * 4
    fast = copy.deepcopy(measured)
    fast["training"][-1].update(losses=[[2.3, 2.3, 2.3, 2.2]] * 3, seconds=1.0)
    for run in fast["training"][:-1]:
        run.update(losses=[[2.3, 2.0, 1.9, 1.8]] * 3, seconds=1.0)
    assert [f.verdict for f in CLAIM.judge(fast)[4:]] == ["holds"] * 4
    hardly = copy.deepcopy(fast)  # lower in the end, and two thirds of the full batch's images
    for run in hardly["training"][:-1]:
        run["losses"] = [[2.3, 2.25, 2.2, 2.1]] * 3
    assert [f.verdict for f in CLAIM.judge(hardly)[4:]] == ["holds", "does not hold"] * 2
    assert verdict(CLAIM.judge(slow)) == "does not hold"


def test_drawing_shows_what_was_measured(measured):
    spread, mean, race, table = CLAIM.draw(measured)
    predicted = next(t for t in spread.figure.data if t.name == "1/√N")
    assert list(predicted.y) == pytest.approx([n**-0.5 for n in predicted.x])
    seeds = measured["gradients"]
    band, line, _ = mean.figure.data
    last = sum(seed["distance"][-1] / seed["norm"] for seed in seeds) / len(seeds)
    assert line.y[-1] == pytest.approx(last)
    assert len(band.x) == 2 * len(line.x)
    assert isinstance(table, Table)
    lines = [t for t in race.figure.data if t.name]
    assert len(lines) == 2 * len(table.rows) == 6
    for row, run in zip(table.rows, measured["training"], strict=True):
        final = sum(losses[-1] for losses in run["losses"]) / 3
        assert row[-2] == f"{final:.3f}"
        assert row[2] == f"{run['rate']:g}" + " *" * run["at_edge"]
    assert ("may lie beyond" in table.caption) == any(r["at_edge"] for r in measured["training"])
    measured = copy.deepcopy(measured)
    measured["training"][0]["at_edge"] = True
    table = CLAIM.draw(measured)[-1]
    assert table.rows[0][2].endswith(" *")
    assert "may lie beyond" in table.caption
