import copy
import json

import pytest
import torch
from torch import nn

from lecture4.lesson.claims import s03_search as search
from lecture4.lesson.lab import Lab, Plot, Table, Widget, spread
from lecture4.lesson.lab.finding import verdict

METHODS = search.METHODS


@pytest.fixture(scope="module")
def measured():
    """The claim on 200 examples and few looks, with no more than one step size to choose."""
    with pytest.MonkeyPatch.context() as patch:
        few = {name: (kind, size, rates[1:2]) for name, (kind, size, rates) in METHODS.items()}
        patch.setattr(search, "METHODS", few)
        lab = Lab(budget="quick", data="shapes")
        patch.setattr(lab, "pick", lambda quick, full: {2_000: 400, 50: 20}.get(quick, quick))
        return json.loads(json.dumps(search.measure(lab), allow_nan=False))


@pytest.fixture
def problem():
    """A linear problem that a step along the slope improves: model, examples."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=draw)
    model = nn.Linear(6, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model, (x, x[:, :3].argmax(1))


def counted(name, problem, marks, monkeypatch):
    """What ``race`` returns, and the number of examples in each forward pass that trained."""
    model, examples = problem
    seen = []
    loss = search.F.cross_entropy

    def counting(scores, labels):
        seen.append(len(labels))
        return loss(scores, labels)

    monkeypatch.setattr(search.F, "cross_entropy", counting)
    return search.race(name, 0.1, model, examples, examples, examples, marks, seed=0), seen


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("random search", 40),  # the candidate on all 40
        ("random local search", 80),  # W and the candidate, on 128 or all there are
        ("gradient descent", 120),  # forward 1, backward 2
        ("minibatch SGD", 120),  # 64, or all there are
    ],
)
def test_every_example_that_is_looked_at_is_charged(name, price, problem, monkeypatch):
    assert search.cost(name, 40) == price
    _, seen = counted(name, problem, [10, 485], monkeypatch)
    first = 40 if name == "random search" else 0  # the W it begins with
    forwards = (485 - first) // price * (2 if name == "random local search" else 1)
    assert seen == [40] * (forwards + first // 40)


def test_minibatches_cost_less():
    assert search.cost("minibatch SGD", 2_000) == 192
    assert search.cost("random local search", 2_000) == 256
    assert search.cost("gradient descent", 2_000) == 6_000


def test_gradient_descent_is_that_of_torch(problem):
    model, (x, y) = problem
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    reached = [(twin(x).argmax(1) == y).double().mean().item()]
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(twin(x), y).backward()
        optimizer.step()
        reached.append(max(reached[-1], (twin(x).argmax(1) == y).double().mean().item()))
    marks = [119, 120, 240, 360, 480, 600]
    sides = [(x, y)] * 3
    assert search.race("gradient descent", 0.5, model, *sides, marks, 0) == reached
    assert reached[-1] > reached[0]
    assert not model.weight.any()  # a copy was trained


@pytest.mark.parametrize("seed", range(5))
def test_random_search_keeps_the_candidate_of_least_loss(seed, problem):
    model, (x, y) = problem

    def accuracy(w, b):
        return ((x @ w.T + b).argmax(1) == y).double().mean().item()

    torch.manual_seed(seed)
    kept = model.weight.detach(), model.bias.detach()
    least, reached = torch.tensor(3.0).log(), [accuracy(*kept)]
    for _ in range(20):
        w, b = 0.3 * torch.randn(3, 6), 0.3 * torch.randn(3)
        loss = nn.functional.cross_entropy(x @ w.T + b, y)
        if loss < least:
            kept, least = (w, b), loss
        reached.append(max(reached[-1], accuracy(*kept)))
    marks = list(range(40, 841, 40))
    sides = [(x, y)] * 3
    assert search.race("random search", 0.3, model, *sides, marks, seed) == reached


def test_validation_chooses_the_look_that_the_test_images_judge(problem):
    """Test labels are all those of the first look: each later W that validation takes is worse."""
    model, (x, y) = problem
    marks = [119, 120, 240, 360, 480, 600]
    first = x, model(x).argmax(1)
    chosen = search.race("gradient descent", 0.5, model, (x, y), (x, y), first, marks, 0)
    assert chosen[0] == 1.0 > chosen[-1]
    kept = search.race("gradient descent", 0.5, model, (x, y), first, (x, y), marks, 0)
    assert kept == [(model(x).argmax(1) == y).double().mean().item()] * 6


def test_a_race_that_diverges_ends_where_it_was_best(problem):
    model, examples = problem
    marks = [119, 120, 240, 600]
    curve = search.race("gradient descent", 1e38, model, *[examples] * 3, marks, 0)
    assert len(curve) == 4
    assert curve == sorted(curve)


def test_curves_never_fall_and_a_seed_is_a_race(problem):
    model, examples = problem
    for name in METHODS:
        args = (name, 0.3, model, examples, examples, examples, [1, 150, 700, 3000])
        curve = search.race(*args, seed=3)
        assert curve == sorted(curve)
        assert curve == search.race(*args, seed=3)


def test_batches_are_full_and_shuffled():
    batches = search._batches(10, 4, seed=0)
    epochs = [torch.cat([next(batches), next(batches)]) for _ in range(2)]
    assert all(len(set(epoch.tolist())) == 8 for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()
    assert len(next(search._batches(10, None, seed=0))) == 10
    assert len(next(search._batches(10, 64, seed=0))) == 10


def test_step_sizes_are_chosen_with_another_seed(measured):
    assert measured["tuning_seed"] not in measured["seeds"]
    assert measured["rates"] == {name: rates[1] for name, (_, _, rates) in METHODS.items()}


def invented(finals, start=0.1):
    """Measurements in which each method rises evenly to its final accuracy."""
    marks = [5 * i for i in range(1, 21)]
    return {
        "seeds": [0, 1, 2],
        "test_images": 2000,
        "evaluations": marks,
        "accuracy": {
            name: [[start + (top - start) * m / 100 + s / 1000 for m in marks] for s in range(3)]
            for name, top in zip(METHODS, finals, strict=True)
        },
    }


def test_verdict():
    won = invented([0.12, 0.13, 0.3, 0.9])
    assert [f.verdict for f in search.judge(won)] == ["holds"] * 4
    even = invented([0.12, 0.3, 0.3, 0.32])
    assert [f.verdict for f in search.judge(even)] == [
        "does not hold",
        "does not hold",
        "holds",
        "does not hold",
    ]
    slow = search.judge(invented([0.12, 0.14, 0.9, 0.26]))
    assert slow[2].mean == pytest.approx(-64)
    assert slow[3].mean == pytest.approx(0.25)
    few = search.judge({**won, "test_images": 50})
    assert [f.at_least for f in few[:2]] == pytest.approx([19.6] * 2)
    assert [f.verdict for f in few[:2]] == ["does not hold", "holds"]
    never = search.judge(invented([0.12, 0.15, 0.3, 0.11]))[3]
    assert never.values == [1.0] * 3


def test_page(measured):
    assert verdict(search.judge(measured)) in ("holds", "does not hold", "undecided")
    widget, plot, table, sweep = search.draw(measured)
    assert isinstance(widget, Widget)
    assert isinstance(plot, Plot)
    assert isinstance(table, Table)
    assert isinstance(sweep, Table)
    names = [trace.name for trace in plot.figure.data if trace.name]
    assert names == list(METHODS)
    for method, trace in zip(
        widget.data["methods"], [t for t in plot.figure.data if t.name], strict=True
    ):
        runs = measured["accuracy"][method["name"]]
        mean = [100 * sum(at) / len(at) for at in zip(*runs, strict=True)]
        assert method["accuracy"] == pytest.approx(mean, abs=0.01)
        assert list(trace.y) == pytest.approx(mean, abs=0.01)
        assert f"{method['name']} {spread([100 * run[-1] for run in runs])}" in plot.alt
    assert len(table.rows) == 4
    assert [row[1] for row in table.rows] == ["0.003", "0.0003", "0.01", "0.0003"]
    assert list(sweep.header) == ["step size", "0.0003", "0.003", "0.01"]
    for name, *cells in sweep.rows:
        (rate, accuracy), place = measured["sweep"][name][0], list(sweep.header)
        assert [cell for cell in cells if cell] == [f"{100 * accuracy:.1f} *"]
        assert cells[place.index(f"{rate:g}") - 1]


def test_a_step_size_at_the_edge_is_marked(measured):
    sweep = {name: [[0.1, 0.2], [0.2, 0.5], [0.4, 0.3]] for name in METHODS}
    m = {**measured, "sweep": sweep, "rates": dict.fromkeys(METHODS, 0.2)}
    *_, table = search.draw(m)
    assert table.rows[0][1:] == ["20.0", "50.0 *", "30.0"]
    assert "**" not in table.caption
    sweep["random search"][0][1] = 0.6
    m["rates"]["random search"] = 0.1
    *_, table = search.draw(m)
    assert table.rows[0][1:] == ["60.0 **", "50.0", "30.0"]
    assert "**: it is the smallest or largest" in table.caption


def test_updates_are_those_that_the_budget_pays_for(measured):
    budget, images = measured["evaluations"][-1], measured["images"]
    for name, count in measured["updates"].items():
        spent = count * search.cost(name, images) + search.first_cost(name, images)
        assert budget - search.cost(name, images) < spent <= budget
