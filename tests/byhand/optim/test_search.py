import itertools
import math

import pytest
import torch
from optimizing import batches, network, parameter, saved, weights
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from lecture4.byhand import optim

SEARCHES = [optim.RandomSearch, optim.RandomLocalSearch]


class Scores:
    """A closure that returns given losses, and remembers the weights that it saw."""

    def __init__(self, parameters, losses):
        self.parameters, self.losses = parameters, iter(losses)
        self.seen, self.grad_enabled = [], []

    def __call__(self):
        self.seen.append([p.detach().clone() for p in self.parameters])
        self.grad_enabled.append(torch.is_grad_enabled())
        return torch.tensor(next(self.losses))


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def candidates(kind, w, lr, steps=1):
    search, closure = kind([w], lr=lr), Scores([w], itertools.cycle([1.0, 2.0]))
    for _ in range(steps):
        search.step(closure)
    return [seen[0] for seen in closure.seen[1::2]]


def assert_normal(draws, std):
    """Mean and spread within five standard errors; 68.3 % of the draws within one std, as N has."""
    n = draws.numel()
    assert draws.mean().abs() < 5 * std / math.sqrt(n)
    assert draws.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * n))
    assert (draws.abs() < std).double().mean().item() == pytest.approx(0.6827, abs=0.01)


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_freezes_its_parameters(kind):
    model = network()
    search = kind(model.blocks.parameters(), lr=0.1)
    assert not any(p.requires_grad for p in model.blocks.parameters())
    assert all(p.requires_grad for p in model.scores.parameters())
    search.add_param_group({"params": model.scores.parameters()})
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_scores_what_it_kept_and_then_a_candidate(kind):
    torch.manual_seed(0)
    model = network()
    before = weights(model)
    closure = Scores(list(model.parameters()), [2.0, 1.0])
    loss = kind(model.parameters(), lr=0.1).step(closure)
    assert loss.item() == 2.0
    assert len(closure.seen) == 2
    assert same(closure.seen[0], before)
    assert not any(torch.equal(a, b) for a, b in zip(closure.seen[1], before, strict=True))
    assert closure.grad_enabled == [False, False]


@pytest.mark.parametrize("losses", [[2.0, 1.0], [math.nan, 1.0]], ids=str)
@pytest.mark.parametrize("kind", SEARCHES)
def test_a_better_candidate_is_kept(kind, losses):
    torch.manual_seed(0)
    model = network()
    pointers = [p.data_ptr() for p in model.parameters()]
    closure = Scores(list(model.parameters()), losses)
    kind(model.parameters(), lr=0.1).step(closure)
    assert same(weights(model), closure.seen[1])
    assert [p.data_ptr() for p in model.parameters()] == pointers


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize(
    "losses",
    [[1.0, 2.0], [1.0, 1.0], [1.0, math.nan], [1.0, math.inf], [math.nan, math.nan]],
    ids=str,
)
def test_any_other_candidate_is_undone_exactly(kind, losses):
    torch.manual_seed(0)
    model = network()
    before = weights(model)
    kind(model.parameters(), lr=0.1).step(closure := Scores(list(model.parameters()), losses))
    assert len(closure.seen) == 2
    assert not same(closure.seen[1], before)
    assert same(weights(model), before)


@pytest.mark.parametrize("kind", SEARCHES)
def test_losses_of_a_search_on_one_batch_never_increase(kind):
    torch.manual_seed(0)
    model = network().eval()
    inputs, labels = batches()[0]
    search = kind(model.parameters(), lr=0.3)
    losses = [search.step(lambda: cross_entropy(model(inputs), labels)).item() for _ in range(100)]
    assert all(after <= before for before, after in itertools.pairwise(losses))
    assert 2 < len(set(losses)) < 100
    last = cross_entropy(model(inputs), labels).item()
    assert last <= losses[-1] < losses[0]


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize("lr", [0.1, 3.0])
def test_random_search_draws_anew(lr, value):
    torch.manual_seed(0)
    w = nn.Parameter(torch.full((200, 500), value, dtype=torch.float64))
    first, second = candidates(optim.RandomSearch, w, lr, steps=2)
    assert_normal(first, lr)
    assert_normal(second, lr)
    assert (first * second).mean().abs() < 5 * lr**2 / math.sqrt(w.numel())


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize("lr", [0.1, 3.0])
def test_random_local_search_steps_away_from_what_it_kept(lr, value):
    torch.manual_seed(0)
    w = nn.Parameter(torch.full((200, 500), value, dtype=torch.float64))
    first, second = candidates(optim.RandomLocalSearch, w, lr, steps=2)
    assert_normal(first - value, lr)
    assert_normal(second - value, lr)
    assert ((first - value) * (second - value)).mean().abs() < 5 * lr**2 / math.sqrt(w.numel())


def test_random_local_search_continues_from_a_kept_candidate():
    torch.manual_seed(0)
    w = nn.Parameter(torch.zeros(100_000, dtype=torch.float64))
    search, closure = optim.RandomLocalSearch([w], lr=0.1), Scores([w], [4.0, 3.0, 3.0, 2.0])
    search.step(closure)
    search.step(closure)
    (kept,), (candidate,) = closure.seen[2:]
    assert_normal(candidate - kept, 0.1)
    assert_normal(candidate, 0.1 * math.sqrt(2))


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_is_determined_by_torchs_seed(kind):
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(torch.stack(candidates(kind, parameter([1.0, 2.0]), 0.1, steps=5)))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert len(found[0].unique(dim=0)) == 5


@pytest.mark.parametrize("kind", SEARCHES)
def test_all_groups_of_a_search_change_by_their_own_rate(kind):
    torch.manual_seed(0)
    first, second = (nn.Parameter(torch.zeros(100_000, dtype=torch.float64)) for _ in range(2))
    search = kind([{"params": [first]}, {"params": [second], "lr": 2.0}], lr=0.1)
    search.step(Scores([first, second], [2.0, 1.0]))
    assert_normal(first.detach(), 0.1)
    assert_normal(second.detach(), 2.0)
    assert (first * second).mean().abs() < 5 * 0.2 / math.sqrt(100_000)
    before = [first.clone(), second.clone()]
    search.step(Scores([first, second], [1.0, 2.0]))
    assert same([first, second], before)


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize("lr", [0, 0.0, -1.0, math.nan])
def test_a_search_needs_a_positive_rate(kind, lr):
    with pytest.raises(ValueError, match=rf"lr={lr} must be a number > 0"):
        kind([parameter([0.0])], lr=lr)


@pytest.mark.parametrize("kind", SEARCHES)
def test_the_rate_of_a_search_may_be_scheduled(kind):
    torch.manual_seed(0)
    w = nn.Parameter(torch.zeros(100_000, dtype=torch.float64))
    search, closure = kind([w], lr=0.4), Scores([w], itertools.cycle([1.0, 2.0]))
    schedule = LambdaLR(search, lambda step: 0.5**step)
    for step in range(3):
        search.step(closure)
        schedule.step()
        assert_normal(closure.seen[-1][0], 0.4 * 0.5**step)


@pytest.mark.parametrize("kind", SEARCHES)
def test_the_state_of_a_search_loads(kind):
    torch.manual_seed(0)
    w = nn.Parameter(torch.zeros(100_000, dtype=torch.float64))
    search = kind([w], lr=5.0)
    search.load_state_dict(saved(kind([parameter([0.0])], lr=0.1).state_dict()))
    assert search.param_groups[0]["lr"] == 0.1
    search.step(closure := Scores([w], [1.0, 2.0]))
    assert_normal(closure.seen[1][0], 0.1)


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_keeps_dtypes(kind):
    torch.manual_seed(0)
    single, double = nn.Parameter(torch.zeros(5)), parameter([0.0])
    kind([single, double], lr=0.1).step(Scores([single, double], [2.0, 1.0]))
    assert single.dtype == torch.float32
    assert double.dtype == torch.float64
    assert single.abs().min() > 0
