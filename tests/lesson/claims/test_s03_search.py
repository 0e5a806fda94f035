import copy
from dataclasses import replace

import pytest
import torch
from claiming import SmallLab, beside, judged, stored
from torch import nn

from lecture4.lesson.claims import s03_search as x
from lecture4.lesson.lab import accuracy, mean_curve, percent, spread

METHODS = x.METHODS


@pytest.fixture(scope="module")
def m():
    """The claim on few examples and looks, with no more than one step size to choose."""
    with pytest.MonkeyPatch.context() as patch:
        few = {name: (kind, size, rates[1:2]) for name, (kind, size, rates) in METHODS.items()}
        patch.setattr(x, "METHODS", few)
        return stored(x, x.measure(SmallLab({50: 20})))


@pytest.fixture
def given():
    """A linear problem that a step along the slope improves."""
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 6, generator=draw)
    model = nn.Linear(6, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    examples = inputs, inputs[:, :3].argmax(1)
    return x.Problem(model, examples, examples, examples)


@pytest.mark.parametrize(
    ("name", "costs"),
    [
        ("random search", (40, 40)),  # the W it begins with; each candidate on all 40
        ("random local search", (0, 80)),  # W and the candidate, on 128 or all there are
        ("gradient descent", (0, 120)),  # forward 1, backward 2
        ("minibatch SGD", (0, 120)),  # 64, or all there are
    ],
)
def test_every_example_that_is_looked_at_is_charged(name, costs, given, monkeypatch):
    assert x.cost(name, 40) == costs
    seen, loss = [], x.F.cross_entropy

    def counting(scores, labels):
        seen.append(len(labels))
        return loss(scores, labels)

    monkeypatch.setattr(x.F, "cross_entropy", counting)
    x.race(name, 0.1, given, [10, 485], seed=0)
    first, update = costs
    forwards = (485 - first) // update * (2 if name == "random local search" else 1)
    assert seen == [40] * (forwards + first // 40)


def test_minibatches_cost_less():
    assert x.cost("minibatch SGD", 2_000) == (0, 192)
    assert x.cost("random local search", 2_000) == (0, 256)
    assert x.cost("gradient descent", 2_000) == (0, 6_000)


def test_gradient_descent_is_that_of_torch(given):
    twin, (inputs, labels) = copy.deepcopy(given.model), given.train
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    reached = [accuracy(twin, inputs, labels)]
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(twin(inputs), labels).backward()
        optimizer.step()
        reached.append(max(reached[-1], accuracy(twin, inputs, labels)))
    marks = [119, 120, 240, 360, 480, 600]
    assert x.race("gradient descent", 0.5, given, marks, 0) == reached
    assert reached[-1] > reached[0]
    assert not given.model.weight.any()  # a copy was trained


@pytest.mark.parametrize("seed", range(5))
def test_random_search_keeps_the_candidate_of_least_loss(seed, given):
    inputs, labels = given.train

    def correct(w, b):
        return ((inputs @ w.T + b).argmax(1) == labels).double().mean().item()

    torch.manual_seed(seed)
    kept = given.model.weight.detach(), given.model.bias.detach()
    least, reached = torch.tensor(3.0).log(), [correct(*kept)]
    for _ in range(20):
        w, b = 0.3 * torch.randn(3, 6), 0.3 * torch.randn(3)
        loss = nn.functional.cross_entropy(inputs @ w.T + b, labels)
        if loss < least:
            kept, least = (w, b), loss
        reached.append(max(reached[-1], correct(*kept)))
    assert x.race("random search", 0.3, given, list(range(40, 841, 40)), seed) == reached


def test_validation_chooses_the_look_that_the_test_images_judge(given):
    """Labels are those of the first look: each later W is worse at them."""
    inputs, _ = given.train
    first, marks = (inputs, given.model(inputs).argmax(1)), [119, 120, 240, 360, 480, 600]
    chosen = x.race("gradient descent", 0.5, replace(given, test=first), marks, 0)
    assert chosen[0] == 1.0 > chosen[-1]
    kept = x.race("gradient descent", 0.5, replace(given, validation=first), marks, 0)
    assert kept == [accuracy(given.model, *given.train)] * 6


def test_a_race_that_diverges_ends_where_it_was_best(given):
    curve = x.race("gradient descent", 1e38, given, [119, 120, 240, 600], 0)
    assert len(curve) == 4
    assert curve == sorted(curve)


@pytest.mark.parametrize("name", METHODS)
def test_curves_never_fall_and_a_seed_is_a_race(name, given):
    curve = x.race(name, 0.3, given, [1, 150, 700, 3000], seed=3)
    assert curve == sorted(curve)
    assert curve == x.race(name, 0.3, given, [1, 150, 700, 3000], seed=3)


def test_batches_are_full_and_shuffled():
    order = torch.arange(10)
    drawn = x.batches(order, order, 4, seed=0)
    epochs = [torch.cat([next(drawn)[1], next(drawn)[1]]) for _ in range(2)]
    assert all(len(set(epoch.tolist())) == 8 for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()
    assert next(x.batches(order, order, None, seed=0))[1] is order
    assert len(next(x.batches(order, order, 64, seed=0))[1]) == 10


def test_step_sizes_are_chosen_on_validation_images_of_another_seed(monkeypatch):
    raced = []

    def scripted(name, rate, given, marks, seed):
        tuning = seed == 1000
        assert tuning == (given.test is given.validation)
        raced.append(None if tuning else (name, rate, seed))
        return [0.5 if tuning and rate == 3e-3 else 0.2]

    monkeypatch.setattr(x, "race", scripted)
    *_, table = x.draw(x.measure(SmallLab()))
    assert list(filter(None, raced)) == [(name, 3e-3, s) for s in (0, 1, 2) for name in METHODS]
    assert [row[3] for row in table.rows] == ["0.003", "0.003", "0.003*", "0.003"]  # * at the edge
    assert table.rows[0][4] == "0.001: 20.0, 0.003: 50.0, 0.01: 20.0"


def invented(m, finals):
    """Measurements in which each method rises evenly to its final accuracy."""
    marks = [5 * i for i in range(1, 21)]
    curves = {
        name: [[0.1 + (top - 0.1) * at / 100 + s / 1000 for at in marks] for s in range(3)]
        for name, top in zip(METHODS, finals, strict=True)
    }
    return replace(m, test_images=2_000, evaluations=marks, accuracy=curves)


def verdicts(m):
    return [finding.verdict for finding in judged(x, m).values()]


def test_verdict(m):
    won = invented(m, [0.12, 0.13, 0.3, 0.9])
    assert list(judged(x, won)) == [
        "gradient descent better than the better search",
        "minibatch SGD better than the better search",
        "full sum",
        "early",
    ]
    assert verdicts(won) == ["holds"] * 4
    assert [f.at_least for f in judged(x, won).values()][:3] == [5, 5, 0]
    even = verdicts(invented(m, [0.12, 0.3, 0.3, 0.32]))
    assert even == ["does not hold", "does not hold", "holds", "does not hold"]
    slow = judged(x, invented(m, [0.12, 0.14, 0.9, 0.26]))
    assert slow["full sum"].mean == pytest.approx(-64)
    assert slow["early"].mean == pytest.approx(0.25)
    few = list(judged(x, replace(won, test_images=50)).values())
    assert [f.at_least for f in few[:2]] == pytest.approx([19.6] * 2)
    assert [f.verdict for f in few[:2]] == ["does not hold", "holds"]
    assert judged(x, invented(m, [0.12, 0.15, 0.3, 0.11]))["early"].values == [1.0] * 3


def test_the_searches_beside_the_published_ones(m):
    [number] = beside(x, invented(m, [0.12, 0.15, 0.3, 0.9]))
    assert number.ours == pytest.approx([3] * 3)
    assert number.direction == "agrees"
    assert beside(x, invented(m, [0.15, 0.12, 0.3, 0.9]))[0].direction == "disagrees"


def test_drawing_shows_what_was_measured(m):
    judged(x, m)
    widget, plot, table = x.draw(m)
    shown = {trace.name: list(trace.y) for trace in plot.figure.data if trace.name}
    assert list(shown) == list(METHODS)
    for method, row in zip(widget.data["methods"], table.rows, strict=True):
        name = method["name"]
        mean = mean_curve(percent(m.accuracy[name]))
        assert method["accuracy"] == pytest.approx(mean)
        assert shown[name] == pytest.approx(mean)
        assert row[-1] == spread(percent(m.final(name)))
        ((rate, best),) = m.tried[name].items()
        assert row[3:5] == [rate, f"{rate}: {percent(best):.1f}"]
    budget = m.evaluations[-1]
    for name, _, updates, *_ in table.rows:
        first, update = x.cost(name, m.images)
        assert budget - update < first + updates * update <= budget
