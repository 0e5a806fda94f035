import copy
import math

import pytest
import torch
from claiming import SmallLab, judged, stored
from torch.nn import functional

from lecture4.data.randomness import generator
from lecture4.lesson.claims import s05_minibatch as minibatch


@pytest.fixture(scope="module")
def measured():
    images = ("data=shapes", "data.train_size=600", "data.test_size=20", "data.val_size=40")
    lab = SmallLab({4096: 512, (4, 512): (16, 64), 5: 3}, images=images)
    return stored(minibatch, minibatch.measure(lab))


@pytest.fixture
def m(measured):
    return copy.deepcopy(measured)


@pytest.fixture(scope="module")
def examples():
    x = torch.randn(256, 12, generator=generator(0))
    return x, functional.one_hot(torch.arange(256) % 3, 3).float()


def test_the_gradient_is_autograds(examples):
    x, y = examples
    weight = torch.randn(3, 12, requires_grad=True)
    functional.cross_entropy(x @ weight.T, y).backward()
    torch.testing.assert_close(minibatch.gradient(weight.detach(), x, y), weight.grad)


def test_norm_and_sigma_follow_from_the_gradient_of_each_image(examples):
    x, y = examples
    weight, _, _ = minibatch.descend(x, y, minibatch.UNBIASED, 0.006, 1, seed=3)
    each = torch.stack([minibatch.gradient(weight, x[[i]], y[[i]]) for i in range(len(x))])
    found = minibatch.gradients(x, y, 3, passes=1, most=4)
    assert found.norm == pytest.approx(each.mean(0).norm().item(), rel=1e-4)
    sigma = (each - each.mean(0)).square().sum((1, 2)).mean().sqrt().item()
    assert found.sigma == pytest.approx(sigma, rel=1e-4)
    assert list(found.distance) == [1, 2, 4]


def test_spread_is_the_root_mean_square_over_batches(examples):
    x, y = examples
    error, full = torch.softmax(x[:, :3], 1) - y, torch.randn(3, 12)
    order = torch.randperm(256, generator=generator(0))
    found = minibatch.spread(x, error, full, [order])
    assert list(found) == [32, 64, 128]
    for size, spread in found.items():
        squares = [(error[b].T @ x[b] / size - full).square().sum() for b in order.split(size)]
        assert spread == pytest.approx(math.sqrt(sum(squares) / len(squares)), rel=1e-5)


def test_the_full_batch_is_gradient_descent(examples):
    x, y = examples
    weight, losses, _ = minibatch.descend(x, y, len(x), 0.5, 2, seed=1)
    other = (1e-3 * torch.randn(3, 12, generator=generator(1))).requires_grad_()
    for _ in range(2):
        loss = functional.cross_entropy(x @ other.T, y)
        (gradient,) = torch.autograd.grad(loss, other)
        other = (other - 0.5 * gradient).detach().requires_grad_()
    torch.testing.assert_close(weight, other.detach())
    assert losses[-1] < losses[0] == pytest.approx(math.log(3), abs=0.01)


def test_an_epoch_draws_each_image_once(monkeypatch, examples):
    seen = []

    def gradient(weight, x, y):
        seen.append(x)
        return torch.zeros_like(weight)

    monkeypatch.setattr(minibatch, "gradient", gradient)
    minibatch.descend(*examples, 32, 0.1, 1, seed=0)
    assert len(seen) == 8
    torch.testing.assert_close(torch.cat(seen).sort(0).values, examples[0].sort(0).values)


@pytest.mark.parametrize(("goal", "epochs"), [(3.0, 0.5), (1.0, 2), (0.5, 3), (5.0, 0)])
def test_epochs_to_a_loss(goal, epochs):
    assert minibatch.epochs_to([4.0, 2.0, 1.0], goal) == epochs


def test_a_loss_that_does_not_fall_reaches_no_goal():
    assert minibatch.epochs_to([4.0, 4.0, 4.0], 5.0) == 3


@pytest.mark.parametrize(
    ("loss", "best", "lowest", "highest"),
    [
        (lambda k: abs(k), 0, -1, 1),
        (lambda k: abs(k - 2), 2, -1, 3),
        (lambda k: abs(k + 2), -2, -3, 0),
        (lambda k: math.nan if k > -2 else -k, -2, -3, 0),  # all rates above diverge
        (lambda k: -k, 6, -1, 6),  # the search ends after eight rates
        (lambda k: math.inf, 0, -7, 0),
    ],
)
def test_rates_are_tried_until_the_best_is_no_edge(
    monkeypatch, examples, loss, best, lowest, highest
):
    def descend(x, y, size, rate, epochs, seed):
        final = loss(round(math.log2(rate / 0.012)))
        return None, [2.3, final], [0.1]

    monkeypatch.setattr(minibatch, "descend", descend)
    made = minibatch.train(*examples, 32, 1, [0, 1, 2])
    assert made.rate == pytest.approx(0.012 * 2**best)
    assert made.tried == pytest.approx([0.012 * 2**k for k in range(lowest, highest + 1)])
    assert made.losses == [[2.3, loss(best) if math.isfinite(loss(best)) else 2.3]] * 3


def test_a_diverged_training_contradicts(m):
    m.training["N = 32"].losses = m.training["full, 512"].losses = [[2.3] * 4] * 3
    assert judged(minibatch, m)["images of 32"].verdict == "does not hold"
    assert list(minibatch.draw(m))


def test_gradients_are_unbiased_and_their_spread_is_predicted(measured):
    found = judged(minibatch, measured)
    for name in ("unbiased", "slope", "with replacement", "without replacement"):
        assert found[name].verdict == "holds", found[name]
    assert [run.size for run in measured.training.values()] == [32, 64, 128, 512]


@pytest.mark.parametrize(
    ("name", "how", "change"),
    [
        ("slope", "with", lambda size: (size / 64) ** -0.2),
        ("with replacement", "with", lambda size: 1.3),
        ("without replacement", "without", lambda size: 0.7),
    ],
)
def test_another_spread_is_noticed(m, name, how, change):
    for g in m.gradients:
        g.spread[how] = {size: s * change(size) for size, s in g.spread[how].items()}
    assert judged(minibatch, m)[name].verdict == "does not hold"


def test_a_bias_is_noticed(m):
    for g in m.gradients:
        g.distance[64] = g.norm
    assert judged(minibatch, m)["unbiased"].verdict == "does not hold"


@pytest.mark.parametrize(
    ("own", "full", "share", "verdicts"),
    [
        ([2.3, 2.0, 1.9, 1.8], [2.3, 0.1, 0.1, 0.1], 4 / 3, ["does not hold", "does not hold"]),
        ([2.3, 2.0, 1.9, 1.8], [2.3, 2.3, 2.3, 2.2], 1 / 9, ["holds", "holds"]),
        ([2.3, 2.25, 2.2, 2.1], [2.3, 2.3, 2.3, 2.2], 2 / 3, ["holds", "does not hold"]),
    ],
)
def test_trainings_are_compared_with_the_full_batch(m, own, full, share, verdicts):
    m.training["N = 128"].losses, m.training["full, 512"].losses = [own] * 3, [full] * 3
    loss, images = (judged(minibatch, m)[name] for name in ("loss of 128", "images of 128"))
    assert [loss.verdict, images.verdict] == verdicts
    assert loss.mean == pytest.approx(own[-1] - full[-1])
    assert images.mean == pytest.approx(share)


def test_what_is_drawn(m):
    m.training["N = 32"].rate, m.training["N = 128"].tried = 0.5, [0.1, 0.2, 0.5, 1.0]
    m.training["N = 32"].tried, m.training["N = 128"].rate = [0.1, 0.5], 0.2
    spread, mean, race, table = minibatch.draw(m)
    named = {trace.name: trace for trace in (*spread.figure.data, *mean.figure.data) if trace.name}
    assert list(named["1/√N"].y) == pytest.approx([n**-0.5 for n in named["1/√N"].x])
    last = [g.distance[64] / g.norm for g in m.gradients]
    assert named["measured"].y[-1] == pytest.approx(sum(last) / 5)
    assert len([trace for trace in race.figure.data if trace.name]) == 2 * len(m.training)
    for row, run in zip(table.rows, m.training.values(), strict=True):
        assert row[5] == f"{sum(losses[-1] for losses in run.losses) / 3:.3f}"
    assert [row[2] for row in table.rows[:3:2]] == ["0.5 *", "0.2"]
