"""NaN, ∞, zero sizes, NumPy's numbers, memory formats and torch.compile: as torch, or refused."""

import math

import numpy as np
import pytest
import torch
from against_torch import assert_same, compare, leaf, randint, randn, torchs
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as torch_functional

from lecture4.byhand import functional as F

INF, NAN = math.inf, math.nan
HALF = torch.float16
SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 5e-324, -1e-310, 1.0, -1.0, 800.0, -800.0]
OPERATIONS = {  # the smallest shape with ties and several windows, and the options
    "relu": ((12,), {}),
    "leaky_relu": ((12,), {}),
    "sigmoid": ((12,), {}),
    "tanh": ((12,), {}),
    "softmax": ((3, 4), {"dim": 1}),
    "log_softmax": ((3, 4), {"dim": 1}),
    "max_pool2d": ((1, 1, 3, 4), {"kernel_size": 2, "stride": 1, "padding": 1}),
    "avg_pool2d": ((1, 1, 3, 4), {"kernel_size": 2, "stride": 1, "padding": 1}),
    "flatten": ((3, 4), {}),
    "cross_entropy": ((3, 4), {"target": torch.tensor([0, 3, -100]), "reduction": "none"}),
    "nll_loss": ((3, 4), {"target": torch.tensor([0, 3, -100]), "reduction": "none"}),
}
twelve = st.lists(st.sampled_from(SPECIAL) | st.floats(-3, 3), min_size=12, max_size=12)


@pytest.mark.parametrize("name", OPERATIONS)
@given(numbers=twelve)
def test_values_and_gradients_at_special_numbers_are_torchs(name, numbers):
    shape, options = OPERATIONS[name]
    compare(name, torch.tensor(numbers, dtype=torch.float64).view(shape), **options)


@pytest.mark.parametrize("name", ["relu", "max_pool2d"])
@given(numbers=twelve, upstream=st.sampled_from([INF, -INF, NAN, 1.0]))
def test_an_infinite_gradient_reaches_no_other_number(name, numbers, upstream):
    shape, options = OPERATIONS[name]
    found = []
    for operation in (getattr(F, name), torchs(name)):
        x = leaf(torch.tensor(numbers, dtype=torch.float64).view(shape))
        y = operation(x, **options)
        y.backward(torch.full_like(y, upstream))
        found.append(x.grad)
    assert_same(*found)


def test_the_last_nan_of_a_window_takes_its_gradient():
    x = leaf(torch.tensor([[[[NAN, 1.0], [NAN, 2.0]]]]))
    F.max_pool2d(x, 2).backward(torch.tensor([[[[3.0]]]]))
    assert x.grad.flatten().tolist() == [0, 0, 3, 0]


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_a_class_of_weight_zero_does_not_hide_nan_and_an_ignored_target_does(name):
    s, weight = torch.full((2, 3), NAN), torch.zeros(3)
    losses = getattr(F, name)(s, torch.tensor([1, -100]), weight, reduction="none")
    assert losses[0].isnan()
    assert losses[1] == 0
    infinite = torch.tensor([INF, 1.0, 1.0])  # class 0 is the index that stands for an ignored one
    s = leaf(randn(2, 3).float())
    loss = getattr(F, name)(s, torch.tensor([1, -100]), infinite)
    loss.backward()
    assert loss.isfinite()
    assert s.grad.isfinite().all()


def test_the_gradient_of_a_probability_of_zero_is_that_of_its_weight():
    s, weight = randn(2, 3), torch.tensor([1.0, 2.0, 3.0]).double()
    y = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).double()
    compare("cross_entropy", s, y, weight=weight)


def test_a_divergence_of_halves_does_not_overflow():
    p, q = torch.tensor([0.9, 0.1], dtype=HALF), torch.tensor([1e-5, 1.0], dtype=HALF)
    assert F.kl_divergence(p, q).item() == pytest.approx(10.03, abs=0.01)
    tiny = torch.tensor([1.0, 1e-320], dtype=torch.float64)
    assert F.kl_divergence(tiny, tiny.flip(0)).item() == pytest.approx(-math.log(1e-320), rel=1e-9)
    assert F.cross_entropy_of(p, q).dtype == F.entropy(p).dtype == HALF


def test_sums_of_many_halves_do_not_overflow():
    s, target = torch.zeros(70_000, 10, dtype=HALF), torch.zeros(70_000, dtype=torch.int64)
    assert F.cross_entropy(s, target).item() == pytest.approx(math.log(10), rel=1e-3)
    assert F.softmax(s[:, 0], 0).sum().item() == pytest.approx(1, rel=0.1)
    assert F.log_softmax(s[:, 0], 0)[0].item() == pytest.approx(-math.log(70_000), rel=1e-3)
    assert F.l2_penalty([torch.full((100_000,), 1e-4, dtype=HALF)]).item() == pytest.approx(
        1e-3, rel=0.01
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.cross_entropy(torch.zeros(3, 0), torch.full((3,), -100)), "needs a class"),
        (lambda: F.nll_loss(torch.zeros(0, 0), torch.zeros(0, dtype=torch.int64)), "needs a class"),
        (lambda: F.conv2d(torch.zeros(2, 0, 4, 4), torch.zeros(3, 0, 2, 2)), "O ≥ 1"),
        (lambda: F.max_pool2d(torch.zeros(2, 0, 4, 4), 2), "C ≥ 1"),
        (lambda: F.avg_pool2d(torch.zeros(2, 3, 0, 4), 2), "input size must be"),
        (lambda: F.entropy(torch.tensor(0.5)), "entropy: p must hold"),
        (lambda: F.batch_norm(randn(4, 3), leaf(randn(3)), randn(3)), "no gradient for running"),
    ],
)
def test_sizes_and_gradients_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_zero_dimensional_and_empty_tensors_are_torchs():
    for name in ("relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "flatten"):
        compare(name, torch.tensor(0.7).double())
    for name in ("softmax", "log_softmax"):
        compare(name, torch.tensor(0.7).double(), dim=0)
        compare(name, randn(3, 0), dim=1)
    compare("cross_entropy", randn(3), torch.tensor(1))
    compare("linear", randn(2, 0), randn(3, 0), randn(3))
    compare("linear", randn(2, 4), randn(0, 4))


@pytest.mark.parametrize("number", [np.int64, np.int32, np.uint8])
def test_numpys_integers_are_whole_numbers(number):
    x, w = randn(2, 3, 7, 7), randn(4, 3, 3, 3)
    for name, options in (("max_pool2d", {"ceil_mode": True}), ("avg_pool2d", {})):
        compare(name, x, kernel_size=number(3), stride=(number(2), 1), padding=number(1), **options)
    compare("conv2d", x, w, stride=number(2), padding=(number(1), 0), dilation=number(2))
    assert F.output_size(number(8), number(3), number(1), number(1)) == 8
    compare("softmax", x, dim=int(number(1)))


@pytest.mark.parametrize("wrong", [True, np.True_, 2.0, np.float64(2), "2", [2, 2, 2]], ids=repr)
@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding", "dilation"])
def test_sizes_that_are_no_whole_numbers_are_refused_by_name(name, wrong):
    with pytest.raises(ValueError, match=f"{name} must be a whole number"):
        F.max_pool2d(randn(1, 1, 6, 6), **{"kernel_size": 3, name: wrong})
    with pytest.raises(ValueError, match="divisor_override must be a whole number"):
        F.avg_pool2d(randn(1, 1, 6, 6), 2, divisor_override=wrong)


FORMS = {
    "transposed": lambda t: t.transpose(-1, -2).contiguous().transpose(-1, -2),
    "strided": lambda t: torch.stack([t, t], -1)[..., 0],
    "expanded": lambda t: t[:1].expand_as(t),
    "channels last": lambda t: t.contiguous(memory_format=torch.channels_last),
}
MAPS = {
    "relu": {},
    "gelu": {},
    "silu": {},
    "flatten": {"start_dim": 1},
    "softmax": {"dim": 1},
    "max_pool2d": {"kernel_size": 3, "stride": 2, "padding": 1},
    "avg_pool2d": {"kernel_size": 3, "stride": 2, "padding": 1},
    "batch_norm": {"running_mean": None, "running_var": None, "training": True},
    "conv2d": {"weight": randn(2, 3, 3, 3)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MAPS)
def test_any_memory_format_gives_torchs_numbers(name, form):
    pair = [lambda x, f=f: f(x, **MAPS[name]) for f in (getattr(F, name), torchs(name))]
    compare(tuple(pair), FORMS[form](randn(4, 3, 6, 6)))


LABELS = randint(3, 2, 4, 4)
GRAPHS = {
    "linear": lambda x: F.linear(x.flatten(1), x.new_ones(2, 48)),
    "conv2d": lambda x: F.conv2d(x, x.new_ones(2, 3, 2, 2), padding=1),
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "dropout": lambda x: F.dropout(x, 1.0),
    "cross_entropy": lambda x: F.cross_entropy(x, LABELS, label_smoothing=0.1),
    "nll_loss": lambda x: F.nll_loss(x, LABELS, x.new_ones(3)),
    "entropy": lambda x: F.entropy(x.abs()),
    "cross_entropy_of": lambda x: F.cross_entropy_of(x.abs(), 2 * x.abs()),
    "kl_divergence": lambda x: F.kl_divergence(x.abs(), 2 * x.abs()),
    "l1_penalty": lambda x: F.l1_penalty([x]),
    "l2_penalty": lambda x: F.l2_penalty([x]),
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    **{
        name: lambda x, name=name: getattr(F, name)(x)
        for name in ("relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "flatten")
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_every_function_compiles_into_one_graph(name):
    torch.compiler.reset()
    compiled = torch.compile(GRAPHS[name], fullgraph=True, backend="aot_eager")
    found = []
    for function in (compiled, GRAPHS[name]):
        x = leaf(randn(2, 3, 4, 4))
        y = function(x)
        y.sum().backward()
        found.append((y.detach(), x.grad))
    for ours, theirs in zip(*found, strict=True):
        assert_same(ours, theirs)


def test_every_function_is_compiled():
    assert set(GRAPHS) == set(F.__all__) - {"output_size"}


def test_the_shape_and_dtype_on_meta_are_those_on_the_cpu():
    for name, options in MAPS.items():
        moved = {k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in options.items()}
        x = randn(4, 3, 6, 6)
        there, here = getattr(F, name)(x.to("meta"), **moved), getattr(F, name)(x, **options)
        assert (there.shape, there.dtype) == (here.shape, here.dtype)
        assert torch_functional.relu(there).device.type == "meta"
