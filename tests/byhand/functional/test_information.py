import math

import pytest
import torch
from against_torch import assert_same, cases, compare, leaf, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.distributions import Categorical

from lecture4.byhand import functional as F

shapes = st.lists(st.integers(1, 6), min_size=1, max_size=3)
bases = st.sampled_from([math.e, 2, 10, 7.5])
MEASURES = [
    F.entropy,
    lambda p, base=math.e: F.cross_entropy_of(p, p.flip(-1), base),
    lambda p, base=math.e: F.cross_entropy_of(p.flip(-1), p, base),
    lambda p, base=math.e: F.kl_divergence(p, p.flip(-1), base),
    lambda p, base=math.e: F.kl_divergence(p.flip(-1), p, base),
]
MEASURE_NAMES = ["H(P)", "H(P, ·)", "H(·, P)", "D(P, ·)", "D(·, P)"]


def probabilities(*shape, seed=0):
    return randn(*shape, seed=seed).softmax(-1)


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def torchs_entropy(p, base=math.e):
    return torch.special.entr(p).sum(-1) / math.log(base)


def torchs_cross_entropy(p, q, base=math.e):
    return -torch.special.xlogy(p, q).sum(-1) / math.log(base)


def torchs_divergence(p, q, base=math.e):
    return torch.nn.functional.kl_div(q.log(), p, reduction="none").sum(-1) / math.log(base)


@cases
@given(shapes, bases, seeds)
def test_entropy_and_its_gradient_are_torchs(shape, base, seed):
    p = probabilities(*shape, seed=seed)
    compare((F.entropy, torchs_entropy), p, base)


@cases
@given(shapes, bases, st.booleans(), seeds)
def test_cross_entropy_of_distributions_and_its_gradients_are_torchs(shape, base, one_q, seed):
    p = probabilities(*shape, seed=seed)
    q = probabilities(*(shape[-1:] if one_q else shape), seed=seed + 1)
    compare((F.cross_entropy_of, torchs_cross_entropy), p, q, base)


@cases
@given(shapes, bases, st.booleans(), seeds)
def test_divergence_and_its_gradients_are_torchs(shape, base, one_q, seed):
    p = probabilities(5, *shape, seed=seed)
    q = probabilities(*(shape[-1:] if one_q else shape), seed=seed + 1)
    compare((F.kl_divergence, torchs_divergence), p, q, base)


@cases
@given(shapes, seeds)
def test_entropy_and_divergence_are_those_of_torchs_distributions(shape, seed):
    p, q = probabilities(*shape, seed=seed), probabilities(*shape, seed=seed + 1)
    theirs = torch.distributions.kl_divergence(Categorical(p), Categorical(q))
    assert (F.entropy(p) - Categorical(p).entropy()).abs().max() < 1e-12
    assert (F.kl_divergence(p, q) - theirs).abs().max() < 1e-12


@cases
@given(shapes, bases, seeds)
def test_cross_entropy_is_entropy_plus_divergence(shape, base, seed):
    p, q = probabilities(*shape, seed=seed), probabilities(*shape, seed=seed + 1)
    both = F.entropy(p, base) + F.kl_divergence(p, q, base)
    assert_same(F.cross_entropy_of(p, q, base), both)


def test_bits_by_hand():
    """P = (1/2, 1/4, 1/4, 0),  Q = (1/4, 1/2, 1/8, 1/8), in bits.

    H(P)     = 1/2 · 1 + 1/4 · 2 + 1/4 · 2 + 0             = 3/2
    H(P, Q)  = 1/2 · 2 + 1/4 · 1 + 1/4 · 3 + 0 · 3         = 2
    D(P ‖ Q) = 1/2 · 1 + 1/4 · (−1) + 1/4 · 1 + 0          = 1/2
    D(Q ‖ P) = ∞, for P rules out what Q does not
    """
    p, q = float64(1 / 2, 1 / 4, 1 / 4, 0), float64(1 / 4, 1 / 2, 1 / 8, 1 / 8)
    assert F.entropy(p, base=2).item() == pytest.approx(3 / 2, abs=1e-15)
    assert F.cross_entropy_of(p, q, base=2).item() == pytest.approx(2, abs=1e-15)
    assert F.kl_divergence(p, q, base=2).item() == pytest.approx(1 / 2, abs=1e-15)
    assert F.kl_divergence(q, p, base=2).item() == math.inf
    assert F.cross_entropy_of(q, p, base=2).item() == math.inf


def test_nats_by_hand():
    """P = (1, 0): H = 0.  P = (1/2, 1/2): H = log 2.  D((1, 0) ‖ (1/2, 1/2)) = log 2."""
    sure, fair = float64(1, 0), float64(1 / 2, 1 / 2)
    assert F.entropy(sure).item() == 0
    assert F.entropy(fair).item() == pytest.approx(math.log(2), abs=1e-15)
    assert F.kl_divergence(sure, fair).item() == pytest.approx(math.log(2), abs=1e-15)
    assert F.cross_entropy_of(sure, fair).item() == pytest.approx(math.log(2), abs=1e-15)
    assert F.kl_divergence(fair, sure).item() == math.inf


def test_gradients_by_hand():
    """P = (1/2, 1/2),  Q = (1/4, 3/4).

    ∂H(P)/∂p = −log p − 1 = log 2 − 1
    ∂H(P, Q)/∂p = −log q = (log 4, log 4/3),   ∂H(P, Q)/∂q = −p/q = (−2, −2/3)
    ∂D(P ‖ Q)/∂p = log p/q + 1 = (log 2 + 1, log 2/3 + 1),   ∂D(P ‖ Q)/∂q = −p/q
    """
    p, q = leaf(float64(1 / 2, 1 / 2)), leaf(float64(1 / 4, 3 / 4))
    (dp,) = torch.autograd.grad(F.entropy(p), p)
    assert dp.tolist() == pytest.approx([math.log(2) - 1] * 2)
    dp, dq = torch.autograd.grad(F.cross_entropy_of(p, q), (p, q))
    assert dp.tolist() == pytest.approx([math.log(4), math.log(4 / 3)])
    assert dq.tolist() == pytest.approx([-2, -2 / 3])
    dp, dq = torch.autograd.grad(F.kl_divergence(p, q), (p, q))
    assert dp.tolist() == pytest.approx([math.log(2) + 1, math.log(2 / 3) + 1])
    assert dq.tolist() == pytest.approx([-2, -2 / 3])


def test_where_p_is_zero_a_term_is_zero_for_any_q():
    p, q = float64(0, 1), leaf(float64(0, 1))
    for measure in (F.cross_entropy_of, F.kl_divergence):
        value = measure(p, q)
        assert value.item() == 0
        (dq,) = torch.autograd.grad(value, q)
        assert dq.tolist() == [0, -1]


@pytest.mark.parametrize("base", [math.e, 2])
@pytest.mark.parametrize("measure", MEASURES, ids=MEASURE_NAMES)
def test_gradcheck_of_information(measure, base):
    assert gradcheck(lambda p: measure(p, base), (leaf(probabilities(2, 3)),))


@pytest.mark.parametrize("measure", MEASURES, ids=MEASURE_NAMES)
def test_gradcheck_of_information_about_one_of_many(measure):
    del measure
    p, q = leaf(probabilities(2, 3)), leaf(probabilities(3, seed=1))
    assert gradcheck(F.kl_divergence, (p, q))
    assert gradcheck(F.cross_entropy_of, (q, p))


def test_information_about_tensors_that_are_not_contiguous():
    p, q = probabilities(4, 3).T, probabilities(6, 8)[::2, ::2]
    compare((F.entropy, torchs_entropy), p)
    compare((F.cross_entropy_of, torchs_cross_entropy), p, q)
    compare((F.kl_divergence, torchs_divergence), p, q)
    compare((F.kl_divergence, torchs_divergence), q, probabilities(4).expand(3, 4))


def test_information_about_empty_batches():
    p = leaf(torch.ones(0, 3))
    for value in (F.entropy(p), F.cross_entropy_of(p, p), F.kl_divergence(p, p)):
        assert value.shape == (0,)
        assert torch.autograd.grad(value.sum(), p)[0].shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_information_keeps_the_dtype(dtype):
    p, q = probabilities(2, 3).to(dtype), probabilities(2, 3, seed=1).to(dtype)
    values = F.entropy(p), F.cross_entropy_of(p, q), F.kl_divergence(p, q)
    assert [value.dtype for value in values] == [dtype] * 3
    assert (values[0] - torchs_entropy(p.double())).abs().max() < torch.finfo(dtype).eps * 4


@pytest.mark.parametrize("measure", MEASURES, ids=MEASURE_NAMES)
@pytest.mark.parametrize("base", [1, 0, -2, math.inf, math.nan])
def test_a_base_without_logarithm_is_refused(measure, base):
    with pytest.raises(ValueError, match=f"base={base} must be a number > 1"):
        measure(probabilities(3), base)


@pytest.mark.parametrize(
    "p", [torch.tensor(0.5), torch.tensor([0, 1]), torch.tensor([1.5, -0.5])], ids=str
)
def test_an_invalid_distribution_is_refused(p):
    q = torch.tensor([0.5, 0.5])
    for name, arguments in (("p", (p, q)), ("q", (q, p))):
        for measure in (F.cross_entropy_of, F.kl_divergence):
            with pytest.raises(ValueError, match=f"{name} must hold probabilities") as caught:
                measure(*arguments)
            assert f"{p.dtype} of shape {tuple(p.shape)}" in str(caught.value)
    with pytest.raises(ValueError, match="p must hold probabilities"):
        F.entropy(p)


def test_a_negative_probability_is_shown():
    with pytest.raises(ValueError, match=r"shape \(2,\) with -0.5"):
        F.entropy(torch.tensor([1.5, -0.5]))


@pytest.mark.parametrize("measure", [F.cross_entropy_of, F.kl_divergence])
@pytest.mark.parametrize(("p", "q"), [((2, 3), (2, 4)), ((3,), (1,)), ((2, 1), (2, 3))])
def test_different_numbers_of_outcomes_are_refused(measure, p, q):
    with pytest.raises(ValueError, match="different numbers of outcomes") as caught:
        measure(probabilities(*p), probabilities(*q))
    assert f"p {p} and q {q}" in str(caught.value)
