import pytest
import torch
from against_torch import assert_same, cases, compare, distinct, leaf, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from lecture4.byhand import functional as byhand
from lecture4.byhand.functional import regularization


@pytest.fixture(autouse=True)
def _torchs_generator():
    with torch.random.fork_rng():
        yield


def seeded(operation, seed=0):
    """The operation, with the same random numbers each time."""

    def run(*arguments, **options):
        torch.manual_seed(seed)
        return operation(*arguments, **options)

    return run


@cases
@given(
    st.lists(st.integers(0, 5), max_size=4),
    st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1),
    st.booleans(),
    seeds,
)
def test_dropout_of_the_same_seed_and_its_gradient_are_torchs(shape, p, training, seed):
    pair = seeded(byhand.dropout, seed), seeded(F.dropout, seed)
    compare(pair, randn(*shape, seed=seed), p, training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(7,), (0, 3)], ids=str)
def test_dropout_draws_as_many_numbers_as_torchs(shape, p, training):
    states = []
    for operation in (byhand.dropout, F.dropout):
        seeded(operation)(randn(*shape), p, training)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_what_is_left_is_scaled_so_that_the_mean_stays():
    x = leaf(torch.ones(100_000, dtype=torch.float64))
    y = seeded(byhand.dropout)(x, 0.2)
    y.sum().backward()
    assert set(y.tolist()) == {0, 1 / (1 - 0.2)}
    assert y.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(x.grad, y)


def test_another_seed_is_another_mask():
    x = torch.ones(100)
    one, other = seeded(byhand.dropout, 1)(x), seeded(byhand.dropout, 2)(x)
    assert not torch.equal(one, other)
    assert torch.equal(one, seeded(byhand.dropout, 1)(x))


def test_evaluation_is_the_input_itself():
    x = randn(10)
    assert byhand.dropout(x, 0.9, training=False) is x


def test_everything_may_be_dropped():
    x = leaf(randn(10))
    y = byhand.dropout(x, 1.0)
    y.sum().backward()
    assert (y == 0).all()
    assert (x.grad == 0).all()


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_gradcheck_and_gradgradcheck_of_dropout(p, training):
    x = leaf(randn(3, 4))
    assert gradcheck(lambda x: seeded(byhand.dropout)(x, p, training), (x,))
    assert gradgradcheck(lambda x: seeded(byhand.dropout)(x, p, training), (x,))


@pytest.mark.parametrize(
    "x",
    [
        randn(3, 4).T,
        randn(6, 8)[::2, ::2],
        randn(3, 1).expand(3, 4),
        randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    ],
    ids=["transposed", "sliced", "expanded", "channels_last"],
)
def test_dropout_in_any_order_is_torchs(x):
    ours, theirs = compare((seeded(byhand.dropout), seeded(F.dropout)), x)
    assert ours.stride() == theirs.stride()


def test_a_chosen_dtype_draws_the_same_mask():
    for dtype in (torch.float32, torch.bfloat16):
        x = randn(50).to(dtype)
        assert_same(seeded(byhand.dropout)(x, 0.25), seeded(F.dropout)(x, 0.25))


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("training", [True, False])
def test_an_invalid_probability_is_refused(p, training):
    with pytest.raises(ValueError, match=f"p={p} must be a probability"):
        byhand.dropout(randn(3), p, training)


def test_in_place_is_refused():
    with pytest.raises(ValueError, match="dropout by hand does not support inplace=True"):
        byhand.dropout(randn(3), inplace=True)


PENALTIES = {  # by hand, and what autograd is to differentiate
    "l1_penalty": lambda *weights: sum(w.abs().sum() for w in weights),
    "l2_penalty": lambda *weights: sum(w.square().sum() for w in weights),
}
each_penalty = pytest.mark.parametrize("name", PENALTIES)


def penalty(name):
    return lambda *weights: getattr(byhand, name)(weights)


@each_penalty
@cases
@given(
    st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=4),
    st.sampled_from([1e-3, 1, 100]),
    seeds,
)
def test_penalties_and_their_gradients_are_those_of_autograd(name, shapes, scale, seed):
    weights = [scale * randn(*shape, seed=seed + i) for i, shape in enumerate(shapes)]
    compare((penalty(name), PENALTIES[name]), *weights)


def test_penalties_on_paper():
    """W = (3, −4), 0: R₁ = 7, ∂R₁/∂w = sign w = (1, −1), 0;  R₂ = 25, ∂R₂/∂w = 2w = (6, −8), 0."""
    for name, value, gradient in (("l1_penalty", 7, [1, -1]), ("l2_penalty", 25, [6, -8])):
        weights = leaf(torch.tensor([3.0, -4])), leaf(torch.tensor(0.0))
        r = getattr(byhand, name)(weights)
        (0.5 * r).backward()
        assert r.item() == value
        assert weights[0].grad.tolist() == [g / 2 for g in gradient]
        assert weights[1].grad.item() == 0


@each_penalty
def test_gradcheck_and_gradgradcheck_of_penalties(name):
    weights = leaf(distinct(3, 4)), leaf(distinct(5))
    assert gradcheck(penalty(name), weights)
    assert gradgradcheck(penalty(name), weights)


@each_penalty
@pytest.mark.parametrize("factor", [-1, 0.5, 1.01])
def test_a_wrong_gradient_of_a_penalty_is_found(monkeypatch, name, factor):
    function = {"l1_penalty": regularization._L1Penalty, "l2_penalty": regularization._L2Penalty}
    right = function[name].backward
    wrong = staticmethod(lambda ctx, dr: tuple(factor * g for g in right(ctx, dr)))
    monkeypatch.setattr(function[name], "backward", wrong)
    with pytest.raises(AssertionError):
        compare((penalty(name), PENALTIES[name]), randn(3, 4))
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradcheck(penalty(name), (leaf(distinct(3, 4)),))


@each_penalty
def test_penalties_take_any_sequence_and_keep_the_dtype(name):
    weights = [randn(2, 3).float(), randn(4).float()]
    for given_ in (weights, tuple(weights), nn.ParameterList(weights)):
        r = getattr(byhand, name)(given_)
        assert r.shape == ()
        assert r.dtype == torch.float32
        assert r.item() == pytest.approx(PENALTIES[name](*weights).item())


@each_penalty
def test_a_frozen_weight_counts_and_has_no_gradient(name):
    frozen, free = randn(3), leaf(randn(3, seed=1))
    r = getattr(byhand, name)([frozen, free])
    r.backward()
    assert r.item() == pytest.approx(PENALTIES[name](frozen, free).item())
    assert frozen.grad is None
    assert free.grad is not None
