import math

import pytest
import torch
from against_torch import assert_same, cases, compare, leaf, randint, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from lecture4.byhand import functional as byhand

SOFTMAXES = ["softmax", "log_softmax"]
REDUCTIONS = ["none", "mean", "sum"]
LOSSES = [byhand.cross_entropy, byhand.nll_loss]
scales = st.sampled_from([0.1, 1])


@st.composite
def shapes_of_scores(draw):
    """(K,), (N, K) or (N, K, d₁, …), and the dimension of the classes."""
    k, n = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    rest = draw(st.lists(st.integers(1, 3), max_size=2))
    return draw(st.sampled_from([((k,), 0), ((n, k), 1), ((n, k, *rest), 1)]))


@st.composite
def class_targets(draw):
    """Scores, class indices of which at least one counts, and options."""
    shape, dim = draw(shapes_of_scores())
    seed, k = draw(seeds), shape[dim]
    scores = draw(scales) * randn(*shape, seed=seed)
    target = randint(k, *shape[:dim], *shape[dim + 1 :], seed=seed)
    options = {"reduction": draw(st.sampled_from(REDUCTIONS))}
    if draw(st.booleans()):
        options["weight"] = randn(k, seed=seed + 1).exp()
    if k > 1 and draw(st.booleans()):
        options["ignore_index"] = draw(st.integers(-1, k))
        ignored = randint(2, *target.shape, seed=seed + 2).bool()
        target = torch.where(ignored, options["ignore_index"], target)
        first = (0,) * target.ndim
        target[first] = (options["ignore_index"] + 1) % k  # one that counts
    return scores, target, options


smoothings = st.sampled_from([0.0, 0.1, 1.0]) | st.floats(0, 1)


@cases
@given(class_targets(), smoothings)
def test_cross_entropy_of_classes_and_its_gradient_are_torchs(case, label_smoothing):
    scores, target, options = case
    compare("cross_entropy", scores, target, **options, label_smoothing=label_smoothing)


@cases
@given(st.integers(2, 5), st.sampled_from(REDUCTIONS), smoothings, seeds)
def test_cross_entropy_of_large_scores_beside_others_is_torchs(k, reduction, label_smoothing, seed):
    s = torch.cat([300 * randn(4, k, seed=seed), randn(4, k, seed=seed + 1)])
    options = {"reduction": reduction, "label_smoothing": label_smoothing}
    compare("cross_entropy", s, randint(k, 8, seed=seed), **options)


@cases
@given(shapes_of_scores(), scales, st.sampled_from(REDUCTIONS), smoothings, st.booleans(), seeds)
def test_cross_entropy_of_probabilities_and_its_gradients_are_torchs(
    shape_dim, scale, reduction, label_smoothing, has_weight, seed
):
    shape, dim = shape_dim
    weight = randn(shape[dim], seed=seed + 1).exp() if has_weight else None
    compare(
        "cross_entropy",
        scale * randn(*shape, seed=seed),
        randn(*shape, seed=seed + 2).softmax(dim),
        weight=weight,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


@cases
@given(shapes_of_scores(), st.sampled_from(REDUCTIONS), smoothings, seeds)
def test_cross_entropy_of_targets_that_do_not_sum_to_one_is_torchs(
    shape_dim, reduction, label_smoothing, seed
):
    shape, _ = shape_dim
    options = {"reduction": reduction, "label_smoothing": label_smoothing}
    compare("cross_entropy", randn(*shape, seed=seed), randn(*shape, seed=seed + 1), **options)


@cases
@given(class_targets())
def test_nll_loss_and_its_gradient_are_torchs(case):
    scores, target, options = case
    compare("nll_loss", scores.log_softmax(min(scores.ndim, 2) - 1), target, **options)


def test_the_lectures_loss_by_hand():
    """s = (log 2, log 1, log 5), true class 0:  p = (1/4, 1/8, 5/8),  L = log 4,  ∂L/∂s = p − y."""
    s = torch.tensor([[math.log(2), 0, math.log(5)]], dtype=torch.float64, requires_grad=True)
    assert byhand.softmax(s, 1).tolist()[0] == pytest.approx([1 / 4, 1 / 8, 5 / 8], abs=1e-15)
    loss = byhand.cross_entropy(s, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(4), abs=1e-15)
    assert s.grad.tolist()[0] == pytest.approx([-3 / 4, 1 / 8, 5 / 8], abs=1e-15)


def test_the_weighted_mean_by_hand():
    """Two examples, p = (1/2, 1/2) and (1/4, 3/4), of classes 0 and 1, w = (1, 3).

    L = (1 · log 2 + 3 · log 4/3)/(1 + 3)
    """
    s = torch.tensor([[0, 0], [0, math.log(3)]], dtype=torch.float64)
    loss = byhand.cross_entropy(s, torch.tensor([0, 1]), torch.tensor([1.0, 3]).double())
    assert loss.item() == pytest.approx((math.log(2) + 3 * math.log(4 / 3)) / 4, abs=1e-15)


def test_ignored_targets_have_neither_loss_nor_gradient_nor_count():
    s = leaf(randn(4, 3))
    target = torch.tensor([0, -100, 2, -100])
    losses = byhand.cross_entropy(s, target, reduction="none")
    assert losses[1] == losses[3] == 0
    loss = byhand.cross_entropy(s, target)
    assert loss.item() == pytest.approx((losses[0] + losses[2]).item() / 2)
    loss.backward()
    assert (s.grad[[1, 3]] == 0).all()
    assert (s.grad[[0, 2]] != 0).all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_and_gradients_where_all_targets_are_ignored_are_torchs(reduction):
    target = torch.full((4,), -100)
    for name in ("cross_entropy", "nll_loss"):
        compare(name, randn(4, 3), target, reduction=reduction)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_scores_overflow_neither_losses_nor_gradients(dtype):
    s = torch.tensor([[1e4, -1e4, 0], [-1e4, -1e4, 1e4], [1e4, 1e4, 1e4]], dtype=dtype)
    for target in (torch.tensor([1, 0, 2]), torch.full((3, 3), 1 / 3, dtype=dtype)):
        for operation in (
            lambda s: byhand.softmax(s, 1),
            lambda s: byhand.log_softmax(s, 1),
            lambda s, target=target: byhand.cross_entropy(s, target),
            lambda s, target=target: byhand.cross_entropy(s, target, label_smoothing=0.1),
        ):
            x = leaf(s)
            y = operation(x)
            y.sum().backward()
            assert y.isfinite().all()
            assert x.grad.isfinite().all()
        compare("cross_entropy", s, target, tolerance=1e-6 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_masked_scores_are_torchs(reduction):
    s = randn(4, 5)
    s[:, 3] = s[1, 0] = -math.inf
    compare("softmax", s, 1)
    compare("log_softmax", s, 1)
    compare("cross_entropy", s, torch.tensor([0, 1, 2, 4]), reduction=reduction)
    compare("cross_entropy", s, torch.tensor([3, 1, 2, 4]), reduction=reduction)


def test_masked_scores_of_probability_zero_have_no_loss():
    s = leaf(torch.tensor([[0, 0, -math.inf]], dtype=torch.float64))
    loss = byhand.cross_entropy(s, torch.tensor([[1 / 2, 1 / 2, 0]], dtype=torch.float64))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert s.grad.tolist() == [[0, 0, 0]]


OPTIONS = [
    {},
    {"weight": randn(3, seed=5).exp()},
    {"ignore_index": 1},
    {"weight": randn(3, seed=5).exp(), "ignore_index": 1},
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2)], ids=str)
def test_gradcheck_and_gradgradcheck_of_cross_entropy_of_classes(
    shape, options, label_smoothing, reduction
):
    target = torch.tensor([0, 1, 2, 0]).view(shape[0], *shape[2:])
    options = {**options, "reduction": reduction, "label_smoothing": label_smoothing}
    s = leaf(randn(*shape))
    assert gradcheck(lambda s: byhand.cross_entropy(s, target, **options), (s,))
    assert gradgradcheck(lambda s: byhand.cross_entropy(s, target, **options), (s,))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_gradcheck_and_gradgradcheck_of_cross_entropy_of_probabilities(
    options, label_smoothing, reduction
):
    options = {**options, "reduction": reduction, "label_smoothing": label_smoothing}
    s, y = leaf(randn(2, 3)), leaf(randn(2, 3, seed=1).softmax(1))
    assert gradcheck(lambda s, y: byhand.cross_entropy(s, y, **options), (s, y))
    assert gradgradcheck(lambda s, y: byhand.cross_entropy(s, y, **options), (s, y))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradcheck_and_gradgradcheck_of_nll_loss(options, reduction):
    log_p, target = leaf(randn(4, 3)), torch.tensor([0, 1, 2, 0])
    options = {**options, "reduction": reduction}
    assert gradcheck(lambda p: byhand.nll_loss(p, target, **options), (log_p,))
    assert gradgradcheck(lambda p: byhand.nll_loss(p, target, **options), (log_p,))


@pytest.mark.parametrize("asked", ["input", "target"])
def test_cross_entropy_has_gradients_only_where_asked(asked):
    inputs = {"input": randn(3, 4), "target": randn(3, 4, seed=1).softmax(1)}
    inputs[asked].requires_grad_()
    byhand.cross_entropy(**inputs).backward()
    ours = inputs[asked].grad
    theirs = torch.autograd.grad(F.cross_entropy(**inputs), inputs[asked])[0]
    assert_same(ours, theirs)
    assert [t.grad is None for t in inputs.values()] == [name != asked for name in inputs]


def test_the_gradient_of_a_target_is_computed_only_where_asked():
    for target, wanted in ((randint(4, 3), False), (leaf(randn(3, 4, seed=1).softmax(1)), True)):
        losses = byhand.cross_entropy(leaf(randn(3, 4)), target, reduction="none")
        _, d_target, *_ = losses.grad_fn.apply(torch.ones_like(losses))
        assert (d_target is not None) == wanted


def test_an_ignored_target_has_no_loss_even_where_a_class_is_impossible():
    log_p = randn(3, 4).log_softmax(1)
    log_p[:, 0] = -math.inf
    for reduction in REDUCTIONS:
        compare("nll_loss", log_p, torch.tensor([1, -100, 3]), reduction=reduction)


def test_softmax_and_losses_of_tensors_that_are_not_contiguous():
    for s in (randn(3, 4).T, randn(8, 6)[::2, ::2], randn(4, 1).expand(4, 3)):
        target = randint(3, 8)[::2]
        for name in SOFTMAXES:
            compare(name, s, 1)
            compare(name, s, 0)
        compare("cross_entropy", s, target)
        compare("nll_loss", s, target)
        compare("cross_entropy", s, randn(3, 4, seed=1).T.softmax(1))
    maps = randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    compare("cross_entropy", maps, randint(3, 2, 5, 4).transpose(1, 2))
    for name in SOFTMAXES:
        compare(name, maps, 1)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("scores", "target"),
    [((4, 3), (5,)), ((4, 3), (4, 1)), ((4, 3, 2), (4, 3)), ((3,), (1,)), ((), ())],
)
def test_losses_refuse_shapes_that_do_not_fit(loss, scores, target):
    with pytest.raises(ValueError, match="takes whole numbers") as caught:
        loss(randn(*scores), randint(1, *target))
    assert f"scores {scores}" in str(caught.value)
    assert f"shape {target}" in str(caught.value)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_refuse_floats_that_are_no_probabilities(loss):
    with pytest.raises(ValueError, match="takes whole numbers") as caught:
        loss(randn(4, 3), randn(4))
    assert "not torch.float64 of shape (4,)" in str(caught.value)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("wrong", [3, -1, 255])
def test_losses_name_a_target_that_is_not_a_class(loss, wrong):
    with pytest.raises(
        IndexError, match=rf"target {wrong} is not a class; with 3 classes .* 0 and 2"
    ):
        loss(randn(3, 3), torch.tensor([0, wrong, 2]))
    assert loss(randn(3, 3), torch.tensor([0, wrong, 2]), ignore_index=wrong).isfinite()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(4,), (1,), (3, 1), ()], ids=str)
def test_losses_refuse_a_weight_that_does_not_fit(loss, shape):
    with pytest.raises(ValueError, match=r"takes a weight of shape \(3,\)") as caught:
        loss(randn(2, 3), torch.tensor([0, 1]), weight=randn(*shape))
    assert f"not {shape}" in str(caught.value)
    assert "(2, 3)" in str(caught.value)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_refuse_a_weight_that_wants_a_gradient(loss):
    with pytest.raises(ValueError, match="no gradient for weight"):
        loss(randn(2, 3), torch.tensor([0, 1]), weight=leaf(randn(3)))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("value", ["average", "", None])
def test_losses_refuse_an_unknown_reduction(loss, value):
    with pytest.raises(ValueError, match=f"reduction={value!r} is unknown.*none, mean, sum"):
        loss(randn(2, 3), torch.tensor([0, 1]), reduction=value)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["size_average", "reduce"])
def test_losses_refuse_what_torch_has_deprecated(loss, name):
    with pytest.raises(ValueError, match=f"{loss.__name__} by hand does not support {name}=True"):
        loss(randn(2, 3), torch.tensor([0, 1]), **{name: True})


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_cross_entropy_refuses_a_smoothing_out_of_range(value):
    with pytest.raises(ValueError, match=f"label_smoothing={value} must lie between 0 and 1"):
        byhand.cross_entropy(randn(2, 3), torch.tensor([0, 1]), label_smoothing=value)


def test_an_index_to_ignore_goes_with_classes_only():
    with pytest.raises(ValueError, match="ignore_index=1 goes with class indices"):
        byhand.cross_entropy(randn(2, 3), randn(2, 3).softmax(1), ignore_index=1)


@pytest.mark.parametrize("name", ["size_average", "reduce"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("value", [True, False])
def test_arguments_that_torch_deprecates_are_refused_with_any_value(loss, name, value):
    with pytest.raises(ValueError, match=f"{name}={value}"):
        loss(randn(4, 3), randint(3, 4), **{name: value})


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_class_that_is_absent_may_weigh_infinity(reduction):
    target = torch.tensor([1, 2, 1])
    weight = torch.tensor([math.inf, 1.0, 2.0], dtype=torch.float64)
    for loss in ("cross_entropy", "nll_loss"):
        compare(loss, randn(3, 3), target, weight=weight, reduction=reduction)
