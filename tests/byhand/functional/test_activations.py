import math

import pytest
import torch
from against_torch import cases, compare, distinct, leaf, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from lecture4.byhand import functional as F

NAMES = ["relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu"]
shapes = st.lists(st.integers(0, 5), max_size=4)
scales = st.sampled_from([1e-3, 1])


@pytest.mark.parametrize("name", NAMES)
@cases
@given(shapes, scales, seeds)
def test_activations_and_their_gradients_are_torchs(name, shape, scale, seed):
    compare(name, scale * randn(*shape, seed=seed))


@pytest.mark.parametrize("name", NAMES)
@cases
@given(st.sampled_from([10, 100, 1000]), seeds)
def test_activations_far_from_zero_beside_others_are_torchs(name, scale, seed):
    compare(name, torch.cat([scale * randn(20, seed=seed), randn(20, seed=seed + 1)]))


@cases
@given(shapes, st.floats(-2, 2), scales, seeds)
def test_leaky_relu_of_any_slope_is_torchs(shape, slope, scale, seed):
    compare("leaky_relu", scale * randn(*shape, seed=seed), slope)


@pytest.mark.parametrize("name", NAMES)
def test_the_slope_at_zero_is_torchs(name):
    compare(name, torch.tensor([0.0, -0.0, 1.0, -1.0], dtype=torch.float64))


def test_the_slope_of_leaky_relu_at_zero_is_that_of_the_negative_side():
    x = torch.zeros(1, requires_grad=True)
    F.leaky_relu(x, 0.3).backward()
    assert x.grad.item() == pytest.approx(0.3)


@pytest.mark.parametrize("name", NAMES)
def test_activations_of_infinities_and_nan_are_torchs(name):
    special = torch.tensor([math.inf, -math.inf, math.nan], dtype=torch.float64)
    ours, theirs = getattr(F, name)(special), getattr(torch.nn.functional, name)(special)
    torch.testing.assert_close(ours, theirs, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_large_scores_overflow_neither_values_nor_gradients(name, dtype):
    x = torch.tensor([1e4, -1e4], dtype=dtype, requires_grad=True)
    y = getattr(F, name)(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    compare(name, x)


def test_sigmoid_by_hand():
    """σ(log 3) = 1/(1 + 1/3) = 3/4,  σ′ = 3/4 · 1/4 = 3/16;  σ(0) = 1/2,  σ′ = 1/4."""
    x = torch.tensor([math.log(3), 0], dtype=torch.float64, requires_grad=True)
    y = F.sigmoid(x)
    y.sum().backward()
    assert y.tolist() == pytest.approx([3 / 4, 1 / 2], abs=1e-15)
    assert x.grad.tolist() == pytest.approx([3 / 16, 1 / 4], abs=1e-15)


def test_tanh_by_hand():
    """tanh(log 2) = (2 − 1/2)/(2 + 1/2) = 3/5,  tanh′ = 1 − 9/25 = 16/25."""
    x = torch.tensor([math.log(2), 0], dtype=torch.float64, requires_grad=True)
    y = F.tanh(x)
    y.sum().backward()
    assert y.tolist() == pytest.approx([3 / 5, 0], abs=1e-15)
    assert x.grad.tolist() == pytest.approx([16 / 25, 1], abs=1e-15)


def test_relu_by_hand():
    x = torch.tensor([-2.0, 0, 3], requires_grad=True)
    y = F.relu(x)
    y.backward(torch.tensor([5.0, 6, 7]))
    assert y.tolist() == [0, 0, 3]
    assert x.grad.tolist() == [0, 0, 7]


def test_silu_by_hand():
    """f(log 3) = 3/4 log 3,  f′ = 3/4 + 3/16 log 3;  f(0) = 0,  f′ = 1/2."""
    x = torch.tensor([math.log(3), 0], dtype=torch.float64, requires_grad=True)
    y = F.silu(x)
    y.sum().backward()
    assert y.tolist() == pytest.approx([0.75 * math.log(3), 0], abs=1e-15)
    assert x.grad.tolist() == pytest.approx([0.75 + 3 / 16 * math.log(3), 1 / 2], abs=1e-15)


def test_gelu_is_x_times_the_probability_below_x():
    x = 3 * randn(50)
    normal = torch.distributions.Normal(*torch.tensor([0, 1.0], dtype=torch.float64))
    assert (F.gelu(x) - x * normal.cdf(x)).abs().max() < 1e-14


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck_and_gradgradcheck_of_activations(name):
    x = leaf(distinct(3, 4))
    assert gradcheck(getattr(F, name), (x,))
    assert gradgradcheck(getattr(F, name), (x,))


@pytest.mark.parametrize("slope", [0.0, 0.3, -1.5, 2])
def test_gradcheck_and_gradgradcheck_of_leaky_relu(slope):
    x = leaf(distinct(3, 4))
    assert gradcheck(lambda x: F.leaky_relu(x, slope), (x,))
    assert gradgradcheck(lambda x: F.leaky_relu(x, slope), (x,))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "x",
    [
        randn(3, 4).T,
        randn(6, 8)[::2, 1::3],
        randn(3, 1).expand(3, 4),
        randn(2, 3, 4, 5),
        randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    ],
    ids=["transposed", "sliced", "expanded", "contiguous", "channels_last"],
)
def test_activations_keep_the_order_of_numbers_as_torch_does(name, x):
    ours, theirs = compare(name, x)
    assert ours.stride() == theirs.stride()


@pytest.mark.parametrize("name", NAMES)
def test_activations_do_not_change_their_input(name):
    x = randn(20)
    before = x.clone()
    getattr(F, name)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "silu"])
def test_in_place_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name} by hand does not support inplace=True"):
        getattr(F, name)(randn(2), inplace=True)
    assert getattr(F, name)(randn(2), inplace=False).shape == (2,)


def test_an_approximate_gelu_is_refused():
    with pytest.raises(ValueError, match="gelu by hand does not support approximate='tanh'"):
        F.gelu(randn(2), approximate="tanh")
    assert F.gelu(randn(2), approximate="none").shape == (2,)
