import pytest
import torch
from against_torch import assert_same, cases, compare, leaf, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from lecture4.byhand import functional as F

leading_shapes = st.lists(st.integers(0, 4), max_size=3)


@cases
@given(leading_shapes, st.integers(1, 8), st.integers(1, 6), st.booleans(), seeds)
def test_linear_and_its_gradients_are_torchs(leading, d, k, has_bias, seed):
    x, weight = randn(*leading, d, seed=seed), randn(k, d, seed=seed + 1)
    compare("linear", x, weight, randn(k, seed=seed + 2) if has_bias else None)


@cases
@given(st.lists(st.integers(0, 4), max_size=4), st.data(), seeds)
def test_flatten_and_its_gradient_are_torchs(shape, data, seed):
    n = max(len(shape), 1)
    start = data.draw(st.integers(0, n - 1))
    end = data.draw(st.integers(start, n - 1))
    start, end = data.draw(st.sampled_from([(start, end), (start - n, end), (start, end - n)]))
    compare("flatten", randn(*shape, seed=seed), start, end)


def test_linear_by_hand():
    """s = x Wᵀ + b.

    x = [[1, 2], [0, −1]],  W = [[3, 1], [−1, 2], [0, 5]],  b = (1, 0, −1)
    s = [[3 + 2 + 1, −1 + 4, 10 − 1], [−1 + 1, −2, −5 − 1]] = [[6, 3, 9], [0, −2, −6]]
    with ∂L/∂s = [[1, 0, 2], [−1, 3, 0]]
        ∂L/∂x = [[1·3 + 2·0, 1·1 + 2·5], [−3 − 3, −1 + 6]] = [[3, 11], [−6, 5]]
        ∂L/∂W = [[1·1, 1·2 + 1], [0, −3], [2·1, 2·2]] = [[1, 3], [0, −3], [2, 4]]
        ∂L/∂b = (0, 3, 2)
    """
    x = torch.tensor([[1.0, 2], [0, -1]], requires_grad=True)
    weight = torch.tensor([[3.0, 1], [-1, 2], [0, 5]], requires_grad=True)
    bias = torch.tensor([1.0, 0, -1], requires_grad=True)
    s = F.linear(x, weight, bias)
    assert s.tolist() == [[6, 3, 9], [0, -2, -6]]
    s.backward(torch.tensor([[1.0, 0, 2], [-1, 3, 0]]))
    assert x.grad.tolist() == [[3, 11], [-6, 5]]
    assert weight.grad.tolist() == [[1, 3], [0, -3], [2, 4]]
    assert bias.grad.tolist() == [0, 3, 2]


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_gradcheck_and_gradgradcheck_of_linear(leading, has_bias):
    x, weight = leaf(randn(*leading, 4)), leaf(randn(2, 4, seed=1))
    inputs = (x, weight, leaf(randn(2, seed=2))) if has_bias else (x, weight)
    assert gradcheck(F.linear, inputs)
    assert gradgradcheck(F.linear, inputs)


@pytest.mark.parametrize("dims", [(0, -1), (1, 2), (-2, -1), (1, 1)])
def test_gradcheck_and_gradgradcheck_of_flatten(dims):
    x = leaf(randn(2, 3, 2))
    assert gradcheck(lambda x: F.flatten(x, *dims), (x,))
    assert gradgradcheck(lambda x: F.flatten(x, *dims), (x,))


@pytest.mark.parametrize("asked", ["input", "weight", "bias"])
def test_linear_has_gradients_only_where_asked(asked):
    inputs = {"input": randn(3, 4), "weight": randn(2, 4), "bias": randn(2)}
    inputs[asked].requires_grad_()
    s = F.linear(**inputs)
    found = s.grad_fn.apply(torch.ones_like(s))
    assert [g is not None for g in found] == [name == asked for name in inputs]
    torch_s = torch.nn.functional.linear(**inputs)
    expected = torch.autograd.grad(torch_s.sum(), inputs[asked])[0]
    assert_same(next(g for g in found if g is not None), expected)


def test_linear_and_flatten_of_tensors_that_are_not_contiguous():
    x, weight = randn(6, 8)[::2, ::2], randn(4, 3).T
    compare("linear", x, weight, randn(6)[::2])
    compare("linear", randn(4, 5, 3).transpose(0, 1), randn(2, 6)[:, ::2])
    compare("linear", randn(4).expand(3, 5, 4), randn(4)[None].expand(2, 4), randn(1).expand(2))
    compare("flatten", randn(3, 4, 5).transpose(0, 2), 1)
    compare("flatten", randn(3, 1).expand(3, 4), 0)
    images = randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    compare("flatten", images, 1)


def test_a_flattened_gradient_may_be_expanded():
    x = leaf(randn(2, 3, 4))
    F.flatten(x, 1).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_a_number_becomes_a_vector():
    assert F.flatten(torch.tensor(3.0)).tolist() == [3]


@pytest.mark.parametrize(
    ("x", "weight", "bias"),
    [
        ((4, 3), (2, 5), None),
        ((), (2, 3), None),
        ((4, 3), (3,), (1,)),
        ((4, 3), (2,), None),
        ((4, 3), (2, 3, 1), None),
        ((4, 3), (2, 3), (3,)),
        ((4, 3), (2, 3), (1,)),
        ((4, 3), (2, 3), (2, 1)),
        ((4, 3), (2, 3), ()),
    ],
)
def test_linear_refuses_shapes_that_do_not_fit(x, weight, bias):
    with pytest.raises(ValueError, match="linear takes") as caught:
        F.linear(randn(*x), randn(*weight), None if bias is None else randn(*bias))
    assert f"input {x}, weight {weight} and bias {bias}" in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "dims"), [((2, 3), (2, -1)), ((2, 3), (-3, -1)), ((2, 3), (0, 2)), ((), (1, 1))]
)
def test_flatten_refuses_dimensions_that_do_not_exist(shape, dims):
    with pytest.raises(ValueError, match="has dimensions") as caught:
        F.flatten(randn(*shape), *dims)
    assert f"from dimension {dims[0]} to {dims[1]}" in str(caught.value)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("dims", [(1, 0), (-1, 0), (2, 1)])
def test_flatten_refuses_dimensions_in_the_wrong_order(dims):
    with pytest.raises(ValueError, match="start_dim must not come after end_dim") as caught:
        F.flatten(randn(2, 3, 4), *dims)
    assert "(2, 3, 4)" in str(caught.value)


def test_a_weight_of_one_row_gives_one_score_each():
    compare("linear", randn(2, 4, 3), randn(3, seed=1))
