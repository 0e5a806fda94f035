import math

import pytest
import torch
from against_torch import assert_same, cases, compare, gradients, leaf, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from lecture4.byhand import functional as byhand

shapes = st.tuples(
    st.integers(3, 6), st.integers(1, 4), st.lists(st.integers(1, 4), max_size=3)
).map(lambda shape: (*shape[:2], *shape[2]))
small_batches = st.tuples(
    st.integers(1, 2), st.integers(1, 4), st.integers(2, 4), st.integers(2, 4)
)  # of enough pixels
settings_ = st.fixed_dictionaries(
    {}, optional={"momentum": st.floats(0, 1), "eps": st.sampled_from([1e-5, 1e-3, 1.0])}
)


def statistics(c, seed=0):
    """A running mean and variance."""
    return randn(c, seed=seed + 3), randn(c, seed=seed + 4).exp()


@cases
@given(shapes | small_batches, st.booleans(), st.booleans(), st.booleans(), settings_, seeds)
def test_batch_norm_in_training_its_gradients_and_statistics_are_torchs(
    shape, has_weight, has_bias, runs, options, seed
):
    c = shape[1]
    x = randn(*shape, seed=seed) * 3 + 5
    weight = randn(c, seed=seed + 1) if has_weight else None
    bias = randn(c, seed=seed + 2) if has_bias else None
    kept = []

    def train(batch_norm):
        running = statistics(c, seed) if runs else (None, None)
        kept.append(running)
        return lambda x, w, b: batch_norm(x, *running, w, b, training=True, **options)

    compare((train(byhand.batch_norm), train(F.batch_norm)), x, weight, bias)
    if runs:
        for ours, theirs in zip(*kept, strict=True):
            assert_same(ours, theirs)


@cases
@given(shapes | small_batches, st.booleans(), st.booleans(), settings_, seeds)
def test_batch_norm_in_evaluation_and_its_gradients_are_torchs(
    shape, has_weight, has_bias, options, seed
):
    c = shape[1]
    weight = randn(c, seed=seed + 1) if has_weight else None
    bias = randn(c, seed=seed + 2) if has_bias else None
    running = statistics(c, seed)
    before = [r.clone() for r in running]
    pair = [
        lambda x, w, b, batch_norm=batch_norm: batch_norm(x, *running, w, b, **options)
        for batch_norm in (byhand.batch_norm, F.batch_norm)
    ]
    compare(tuple(pair), randn(*shape, seed=seed), weight, bias)
    assert all(torch.equal(*both) for both in zip(running, before, strict=True))


@cases
@given(st.integers(1, 4), st.sampled_from([1e-5, 1e-3, 1.0]), seeds)
def test_two_numbers_a_channel_are_normalized_as_in_torch(c, eps, seed):
    """x̂ = ±1 up to ε: ∂L/∂x, a difference, is small beside its terms ∂L/∂y/√(σ² + ε)."""
    both = []
    for batch_norm in (byhand.batch_norm, F.batch_norm):
        x = leaf(randn(2, c, seed=seed))
        y = batch_norm(x, None, None, training=True, eps=eps)
        both.append((y, *gradients(y, [x])))
    (ours, d_ours), (theirs, d_theirs) = both
    assert_same(ours, theirs)
    terms = 1 / (randn(2, c, seed=seed).var(0, correction=0) + eps).sqrt()
    assert (d_ours - d_theirs).abs().max() < 1e-12 * terms.max()


def test_batch_norm_by_hand():
    """Channel one is (1, 3, 5, 7), and channel two (0, 0, 2, 2).

    μ = (4, 1),  σ² = ((9 + 1 + 1 + 9)/4, (1 + 1 + 1 + 1)/4) = (5, 1),  ε = 4 and 0 is shown
    ε = 4:  x̂₁ = (−3, −1, 1, 3)/√9 = (−1, −1/3, 1/3, 1)
    γ = (3, 1),  β = (1, 0):  y₁ = (−2, 0, 2, 4)
    running, m = 1/2, from 0 and 1:  μ = (2, 1/2),  σ² = (1 + 5 · 4/3)/2 and (1 + 4/3)/2
    """
    x = torch.tensor([[1.0, 0], [3, 0], [5, 2], [7, 2]], dtype=torch.float64)
    mean, var = torch.zeros(2).double(), torch.ones(2).double()
    weight, bias = torch.tensor([[3.0, 1], [1, 0]], dtype=torch.float64)
    y = byhand.batch_norm(x, mean, var, weight, bias, training=True, momentum=1 / 2, eps=4)
    assert y[:, 0].tolist() == pytest.approx([-2, 0, 2, 4], abs=1e-15)
    assert mean.tolist() == [2, 1 / 2]
    assert var.tolist() == pytest.approx([(1 + 20 / 3) / 2, (1 + 4 / 3) / 2], abs=1e-15)


def test_a_trained_gradient_changes_neither_mean_nor_variance():
    x = leaf(randn(8, 3))
    y = byhand.batch_norm(x, None, None, training=True, eps=1e-30)
    (dx,) = gradients(y, [x])
    assert dx.abs().max() > 0.1
    assert dx.sum(0).abs().max() < 1e-13
    assert (dx * y).sum(0).abs().max() < 1e-13


def test_a_constant_channel_stays_finite():
    x = leaf(torch.full((4, 2, 3), 1e4))
    y = byhand.batch_norm(x, None, None, training=True)
    y.sum().backward()
    assert (y == 0).all()
    assert x.grad.isfinite().all()


def test_a_far_mean_does_not_hide_the_variance():
    x = randn(1000, 1, dtype=torch.float32) + 1e4
    exact = F.batch_norm(x.double(), None, None, training=True)
    assert (byhand.batch_norm(x, None, None, training=True) - exact).abs().max() < 1e-3


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("has_weight", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 2), (3, 2, 2), (2, 2, 2, 2)], ids=str)
def test_gradcheck_and_gradgradcheck_of_batch_norm(shape, training, has_weight, has_bias):
    x, weight, bias = leaf(randn(*shape)), leaf(randn(2, seed=1)), leaf(randn(2, seed=2))

    def normalize(*inputs):
        given_ = iter(inputs[1:])
        weight = next(given_) if has_weight else None
        bias = next(given_) if has_bias else None
        return byhand.batch_norm(inputs[0], *statistics(2), weight, bias, training)

    inputs = (x, *[weight][: int(has_weight)], *[bias][: int(has_bias)])
    assert gradcheck(normalize, inputs)
    assert gradgradcheck(normalize, inputs)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("asked", ["input", "weight", "bias"])
def test_batch_norm_has_gradients_only_where_asked(asked, training):
    inputs = {"input": randn(4, 3, 2), "weight": randn(3, seed=1), "bias": randn(3, seed=2)}
    inputs[asked].requires_grad_()
    mean, var = statistics(3)
    options = {"running_mean": mean, "running_var": var, "training": training}
    theirs = torch.autograd.grad((F.batch_norm(**inputs, **options) ** 3).sum(), inputs[asked])[0]
    mean, var = statistics(3)
    options = {"running_mean": mean, "running_var": var, "training": training}
    (ours,) = torch.autograd.grad(
        (byhand.batch_norm(**inputs, **options) ** 3).sum(), inputs[asked]
    )
    assert_same(ours, theirs)
    y = byhand.batch_norm(**inputs, **options)
    found = y.grad_fn.apply(torch.ones_like(y))
    if asked == "input":
        assert found[1] is found[2] is None
    assert [g is not None for g in found[1:3]] == [name == asked for name in ("weight", "bias")]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "x",
    [
        randn(5, 4, 3, 2).permute(3, 2, 1, 0),
        randn(4, 6, 8, 10)[::2, ::2, ::2, ::2],
        randn(4, 3, 1, 5).expand(4, 3, 4, 5),
        randn(2, 3, 4, 5),
        randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        randn(3, 6).T,
        randn(6, 3),
    ],
    ids=["permuted", "sliced", "expanded", "contiguous", "channels_last", "transposed", "rows"],
)
def test_batch_norm_in_any_order_is_torchs(x, training):
    pair = [
        lambda x, w, b, f=f: f(x, *statistics(3), w, b, training)
        for f in (byhand.batch_norm, F.batch_norm)
    ]
    ours, theirs = compare(tuple(pair), x, randn(3, seed=1), randn(3, seed=2))
    if x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)):
        assert ours.stride() == theirs.stride()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 4, 5)], ids=str)
def test_batch_norm_reads_weights_in_any_order(shape, training):
    """Torch gets a contiguous copy: its gradient of strided weights is wrong."""
    pair = (
        lambda x, w, b: byhand.batch_norm(x, *statistics(3), w, b, training),
        lambda x, w, b: F.batch_norm(x, *statistics(3), w.contiguous(), b.contiguous(), training),
    )
    compare(pair, randn(*shape), randn(6, seed=1)[::2], randn(1, seed=2).expand(3))


def test_the_statistics_of_a_training_batch_have_no_history():
    mean, var = statistics(3)
    byhand.batch_norm(leaf(randn(4, 3)), mean, var, leaf(randn(3)), training=True)
    assert not mean.requires_grad
    assert not var.requires_grad


def test_an_empty_batch_leaves_the_statistics():
    mean, var = statistics(3)
    y = byhand.batch_norm(randn(0, 3, 2, 2), mean, var, training=True)
    assert y.shape == (0, 3, 2, 2)
    for kept, before in zip((mean, var), statistics(3), strict=True):
        assert torch.equal(kept, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_statistics_of_low_precision_are_computed_in_float32(dtype):
    x = (randn(64, 3, 8, 8) + 3).to(dtype)
    running = torch.zeros(3), torch.ones(3)
    y = byhand.batch_norm(x, *running, torch.ones(3), torch.zeros(3), training=True, momentum=1)
    assert y.dtype == dtype
    exact = x.double()
    assert (running[0] - exact.mean((0, 2, 3))).abs().max() < 1e-5
    assert (running[1] - exact.var((0, 2, 3))).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["running_mean", "running_var", "weight", "bias"])
@pytest.mark.parametrize("shape", [(4,), (1,), (3, 1), ()], ids=str)
def test_batch_norm_refuses_shapes_that_do_not_fit(name, shape):
    arguments = {"running_mean": torch.zeros(3), "running_var": torch.ones(3)}
    with pytest.raises(ValueError, match=rf"\(2, 3, 4\) takes {name} of shape \(C,\)") as caught:
        byhand.batch_norm(randn(2, 3, 4), **{**arguments, name: randn(*shape)})
    assert f"not {shape}" in str(caught.value)


@pytest.mark.parametrize("shape", [(), (3,)], ids=str)
def test_batch_norm_refuses_an_input_without_channels(shape):
    with pytest.raises(ValueError, match="batch_norm takes input") as caught:
        byhand.batch_norm(randn(*shape), None, None, training=True)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)], ids=str)
def test_training_with_one_number_a_channel_is_refused(shape):
    with pytest.raises(ValueError, match="more than one number per channel") as caught:
        byhand.batch_norm(randn(*shape), None, None, training=True)
    assert str(shape) in str(caught.value)
    assert byhand.batch_norm(randn(*shape), *statistics(3)).shape == shape


@pytest.mark.parametrize("missing", [0, 1])
def test_evaluation_without_statistics_is_refused(missing):
    running = [*statistics(3)]
    running[missing] = None
    with pytest.raises(ValueError, match="needs running_mean and running_var"):
        byhand.batch_norm(randn(2, 3), *running)


def test_nan_in_a_batch_reaches_all_of_its_channel():
    x = randn(4, 2)
    x[0, 0] = math.nan
    y = byhand.batch_norm(x, None, None, training=True)
    assert y[:, 0].isnan().all()
    assert y[:, 1].isfinite().all()


@pytest.mark.parametrize(("training", "eps"), [(True, 0), (True, -1e-5), (False, -1e-5)])
def test_batch_norm_refuses_an_epsilon_that_is_not_positive(training, eps):
    with pytest.raises(ValueError, match="eps="):
        byhand.batch_norm(randn(4, 3), torch.zeros(3), torch.ones(3), training=training, eps=eps)
