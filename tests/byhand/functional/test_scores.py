import math

import pytest
import torch
from against_torch import assert_same, cases, compare, leaf, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from lecture4.byhand import functional as byhand

SOFTMAXES = ["softmax", "log_softmax"]
scales = st.sampled_from([0.1, 1])


@pytest.mark.parametrize("name", SOFTMAXES)
@cases
@given(st.lists(st.integers(1, 5), max_size=4), st.data(), scales, seeds)
def test_softmax_and_its_gradient_are_torchs(name, shape, data, scale, seed):
    n = max(len(shape), 1)
    dim = data.draw(st.integers(-n, n - 1))
    compare(name, scale * randn(*shape, seed=seed), dim)


@pytest.mark.parametrize("name", SOFTMAXES)
@cases
@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([-1, -2]), seeds)
def test_softmax_of_large_scores_beside_others_is_torchs(name, n, k, dim, seed):
    compare(name, torch.stack([300 * randn(n, k, seed=seed), randn(n, k, seed=seed + 1)]), dim)


def test_log_softmax_is_finite_where_the_log_of_softmax_is_not():
    s = torch.tensor([0, 1000.0])
    assert byhand.softmax(s, 0).log()[0] == -math.inf
    assert byhand.log_softmax(s, 0).tolist() == [-1000, 0]


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", SOFTMAXES)
def test_gradcheck_and_gradgradcheck_of_softmax(name, dim):
    s = leaf(randn(3, 4))
    assert gradcheck(lambda s: getattr(byhand, name)(s, dim), (s,))
    assert gradgradcheck(lambda s: getattr(byhand, name)(s, dim), (s,))


@pytest.mark.parametrize("name", SOFTMAXES)
def test_gradients_pass_through_the_dtype_of_softmax(name):
    s = randn(3, 4).float()
    for dtype in (torch.float64, torch.float32):
        ours, _ = compare(name, s, 1, dtype=dtype, tolerance=1e-6)
        assert ours.dtype == dtype
    exact = getattr(F, name)(s.double(), 1)
    assert_same(getattr(byhand, name)(s, 1, dtype=torch.float64), exact)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("name", SOFTMAXES)
def test_without_dim_softmax_warns_and_does_as_torch(name, shape):
    s = randn(*shape)
    with pytest.warns(UserWarning, match=f"{name} without dim"):
        ours = getattr(byhand, name)(s)
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        theirs = getattr(F, name)(s)
    assert_same(ours, theirs)


@pytest.mark.parametrize("op", SOFTMAXES)
def test_no_classes_have_no_probabilities(op):
    assert getattr(byhand, op)(randn(3, 0), dim=1).shape == (3, 0)
