import math

import numpy
import pytest
import torch
from against_torch import cases, compare, distinct, leaf, randint, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from lecture4.byhand import functional as byhand
from lecture4.byhand import nn as layers

POOLS = ["max_pool2d", "avg_pool2d"]


@st.composite
def poolings(draw, dilations=True):
    """A shape of maps, and a window that fits them, as numbers or as pairs.

    Every window sees a pixel: torch's max_pool2d writes out of bounds where one does not, which
    takes a side that is smaller than the dilation.
    """
    kernel_size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3))) if dilations else (1, 1)
    if draw(st.booleans()):
        kernel_size, dilation = kernel_size[:1] * 2, dilation[:1] * 2
    reach = [d * (f - 1) + 1 for f, d in zip(kernel_size, dilation, strict=True)]
    padding = tuple(draw(st.integers(0, f // 2)) for f in kernel_size)
    stride = draw(st.none() | st.integers(1, 4) | st.tuples(st.integers(1, 4), st.integers(1, 4)))
    sides = [
        max(d, r - 2 * p) + draw(st.integers(0, 6))
        for d, r, p in zip(dilation, reach, padding, strict=True)
    ]
    options = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    options |= {"dilation": dilation} if dilations else {}
    for name, value in options.items():
        if isinstance(value, tuple) and value[0] == value[1] and draw(st.booleans()):
            options[name] = value[0]
    options["ceil_mode"] = draw(st.booleans())
    n, c = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    return draw(st.sampled_from([(n, c, *sides), (c, *sides)])), options


@cases
@given(poolings(), seeds)
def test_max_pool2d_and_its_gradient_are_torchs(case, seed):
    shape, options = case
    compare("max_pool2d", randn(*shape, seed=seed), **options, tolerance=1e-15)


@cases
@given(poolings(), st.integers(1, 3), seeds)
def test_ties_go_to_the_first_number_as_in_torch(case, high, seed):
    shape, options = case
    compare("max_pool2d", randint(high, *shape, seed=seed).double(), **options, tolerance=1e-15)


@cases
@given(
    poolings(dilations=False),
    st.booleans(),
    st.none() | st.integers(1, 7) | st.integers(-3, -1),
    seeds,
)
def test_avg_pool2d_and_its_gradient_are_torchs(case, count_include_pad, divisor, seed):
    shape, options = case
    options |= {"count_include_pad": count_include_pad, "divisor_override": divisor}
    compare("avg_pool2d", randn(*shape, seed=seed), **options)


def test_max_pooling_by_hand():
    """Windows of 2×2 at stride 1 overlap: the 4 in the middle wins all four.

    x = 1 2 0    y = 4 4    ∂L/∂y = 1 2    ∂L/∂x = 0        0         0
        3 4 1        5 4            3 4            0  1 + 2 + 4 = 7   0
        5 0 2                                      3        0         0
    """
    x = leaf(torch.tensor([[[1.0, 2, 0], [3, 4, 1], [5, 0, 2]]]))
    y = byhand.max_pool2d(x, 2, stride=1)
    assert y.tolist() == [[[4, 4], [5, 4]]]
    y.backward(torch.tensor([[[1.0, 2], [3, 4]]]))
    assert x.grad.tolist() == [[[0, 0, 0], [0, 7, 0], [3, 0, 0]]]


def test_only_the_first_of_equal_numbers_has_a_gradient():
    x = leaf(torch.ones(1, 2, 2))
    byhand.max_pool2d(x, 2).backward(torch.tensor([[[6.0]]]))
    assert x.grad.tolist() == [[[6, 0], [0, 0]]]


def test_the_padding_of_max_pooling_is_never_the_largest():
    x = leaf(torch.full((1, 2, 2), -5.0))
    y = byhand.max_pool2d(x, 2, padding=1)
    y.sum().backward()
    assert (y == -5).all()
    assert (x.grad == 1).all()


def test_average_pooling_by_hand():
    """Windows of 2×2 at stride 1, with a zero of padding around.

    x = 1 2    sums   1 3 2     count_include_pad  / 4
        3 4           4 10 6    else               / 1 2 1
                      3 7 4                          2 4 2
                                                     1 2 1
    ∂L/∂x = Σ 1/n over the four windows that a pixel is in: 1, or 1 + 1/2 + 1/2 + 1/4 = 9/4
    """
    x = leaf(torch.tensor([[[1.0, 2], [3, 4]]]))
    y = byhand.avg_pool2d(x, 2, stride=1, padding=1)
    assert (4 * y).tolist() == [[[1, 3, 2], [4, 10, 6], [3, 7, 4]]]
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [[[1, 1], [1, 1]]]
    y = byhand.avg_pool2d(x, 2, stride=1, padding=1, count_include_pad=False)
    assert y.tolist() == [[[1, 1.5, 2], [2, 2.5, 3], [3, 3.5, 4]]]
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [[[9 / 4, 9 / 4], [9 / 4, 9 / 4]]]
    assert byhand.avg_pool2d(x, 2, divisor_override=5).tolist() == [[[2]]]


def test_cells_beyond_the_padding_never_count():
    """x = (1, 2, 3), windows of 2 at stride 2, the last one hangs over: (1 + 2)/2, 3/1."""
    x = torch.tensor([[[1.0, 2, 3]]])
    assert byhand.avg_pool2d(x, (1, 2), ceil_mode=True).tolist() == [[[1.5, 3]]]
    assert byhand.avg_pool2d(x, (1, 2)).tolist() == [[[1.5]]]
    assert byhand.max_pool2d(x, (1, 2), ceil_mode=True).tolist() == [[[2, 3]]]


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": (2, 3), "stride": 1},
        {"kernel_size": 3, "stride": (2, 1), "padding": 1},
        {"kernel_size": 2, "stride": 1, "dilation": 2},
        {"kernel_size": 2, "ceil_mode": True},
        {"kernel_size": (3, 2), "stride": 2, "padding": (1, 0), "dilation": 2, "ceil_mode": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(2, 1, 5, 5), (2, 5, 5)], ids=str)
def test_gradcheck_and_gradgradcheck_of_max_pool2d(options, shape):
    x = leaf(distinct(*shape))
    assert gradcheck(lambda x: byhand.max_pool2d(x, **options), (x,))
    assert gradgradcheck(lambda x: byhand.max_pool2d(x, **options), (x,))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": (2, 3), "stride": 1},
        {"kernel_size": 3, "stride": (2, 1), "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
        {"kernel_size": 2, "ceil_mode": True},
        {"kernel_size": (3, 2), "padding": 1, "ceil_mode": True, "count_include_pad": False},
        {"kernel_size": 2, "divisor_override": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(2, 1, 5, 5), (2, 5, 5)], ids=str)
def test_gradcheck_and_gradgradcheck_of_avg_pool2d(options, shape):
    x = leaf(randn(*shape))
    assert gradcheck(lambda x: byhand.avg_pool2d(x, **options), (x,))
    assert gradgradcheck(lambda x: byhand.avg_pool2d(x, **options), (x,))


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize(
    "x",
    [
        randn(6, 5, 3, 2).permute(3, 2, 1, 0),
        randn(4, 6, 8, 10)[::2, ::2, ::2, ::2],
        randn(1, 3, 1, 5).expand(2, 3, 4, 5),
        randn(2, 3, 6, 5),
        randn(2, 3, 6, 5).to(memory_format=torch.channels_last),
        randint(2, 2, 3, 6, 5).double().to(memory_format=torch.channels_last),
    ],
    ids=["transposed", "sliced", "expanded", "contiguous", "channels_last", "ties"],
)
@pytest.mark.parametrize("padding", [0, 1])
def test_pools_of_maps_in_any_order_are_torchs(name, x, padding):
    ours, theirs = compare(name, x, kernel_size=3, stride=1, padding=padding)
    if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last):
        assert ours.stride() == theirs.stride()


@pytest.mark.parametrize("name", POOLS)
def test_pooled_maps_can_be_viewed(name):
    assert getattr(byhand, name)(randn(2, 3, 4, 4), 2).view(2, -1).shape == (2, 12)


@pytest.mark.parametrize("name", POOLS)
def test_pools_neither_change_nor_share_their_input(name):
    x = randn(2, 3, 4, 4)
    before = x.clone()
    getattr(byhand, name)(x, 1).mul_(2)
    getattr(byhand, name)(x, 2)
    assert torch.equal(x, before)


def test_a_window_with_nan_gives_nan():
    for position in range(9):
        x = randn(1, 3, 3)
        x.view(-1)[position] = math.nan
        assert byhand.max_pool2d(x, 3).isnan().all()
        ours, theirs = byhand.max_pool2d(x, 2, 1), F.max_pool2d(x, 2, 1)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("padding", [0, 1])
def test_infinities_are_as_in_torch(padding):
    x = randn(2, 4, 4)
    x[0, 0, 1] = x[1, 2, 2] = math.inf
    x[0, 2] = -math.inf
    compare("max_pool2d", x, kernel_size=2, stride=1, padding=padding)


@pytest.mark.parametrize("padding", [0, 1])
def test_a_map_of_minus_infinity_has_torchs_gradient(padding):
    compare("max_pool2d", torch.full((1, 4, 4), -math.inf), 2, padding=padding)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int64])
def test_max_pooling_of_whole_numbers_is_torchs(dtype, padding):
    x = randint(100, 2, 3, 5, 5).to(dtype)
    x = x if dtype == torch.uint8 else x - 100
    compare("max_pool2d", x, kernel_size=3, stride=2, padding=padding)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("stride", [None, [], ()])
def test_no_stride_is_the_kernels_own(name, stride):
    ours, _ = compare(name, randn(2, 7, 7), 3, stride)
    assert ours.shape == (2, 2, 2)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("shape", [(4, 4), (1, 2, 3, 4, 4), (4,)])
def test_pools_refuse_shapes_that_are_not_of_maps(name, shape):
    with pytest.raises(ValueError, match=rf"{name} takes maps \(N, C, H, W\)") as caught:
        getattr(byhand, name)(randn(*shape), 2)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 2, "padding": 2}, "padding=2 is more than half of kernel_size=2.* ≤ 1"),
        ({"kernel_size": (4, 1), "padding": 1}, r"padding=1 is more than half of .*\(4, 1\)"),
        ({"kernel_size": 5}, "kernel_size=5 is larger than its padded input"),
        ({"kernel_size": 0}, "kernel_size must be a whole number ≥ 1, not 0"),
        ({"kernel_size": 2, "stride": 0}, "stride must be a whole number ≥ 1, not 0"),
        ({"kernel_size": 2, "padding": -1}, "padding must be a whole number ≥ 0, not -1"),
        ({"kernel_size": (1, 2, 3)}, r"not \(1, 2, 3\)"),
    ],
    ids=str,
)
def test_pools_refuse_settings_out_of_range(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(byhand, name)(randn(2, 3, 4, 4), **options)


def test_the_suggested_padding_works_and_is_tight():
    x = randn(1, 6, 6)
    for name in POOLS:
        with pytest.raises(ValueError, match="use padding ≤ 2"):
            getattr(byhand, name)(x, 4, padding=3)
        assert getattr(byhand, name)(x, 4, padding=2).isfinite().all()


def test_a_divisor_of_zero_is_refused():
    with pytest.raises(ValueError, match="divisor_override=0 divides by zero"):
        byhand.avg_pool2d(randn(1, 4, 4), 2, divisor_override=0)


def test_indices_are_refused():
    with pytest.raises(ValueError, match="max_pool2d by hand does not support return_indices=True"):
        byhand.max_pool2d(randn(1, 4, 4), 2, return_indices=True)


@pytest.mark.parametrize("op", POOLS)
@pytest.mark.parametrize(("side", "kernel_size", "stride"), [(1, 2, 2), (2, 3, 2), (2, 4, 3)])
def test_rounding_up_a_window_may_be_larger_than_the_map(op, side, kernel_size, stride):
    compare(op, randn(2, 3, side, side), kernel_size=kernel_size, stride=stride, ceil_mode=True)


def test_a_window_that_does_not_even_start_on_the_map_is_refused():
    with pytest.raises(ValueError, match="kernel_size=4 is larger than its padded input 2"):
        byhand.max_pool2d(randn(1, 1, 2, 2), 4, 1, ceil_mode=True)


@pytest.mark.parametrize("op", POOLS)
def test_whole_numbers_of_numpy_are_whole_numbers(op):
    x, two = randn(1, 2, 6, 6), numpy.int64(2)
    assert torch.equal(getattr(byhand, op)(x, two, two), getattr(byhand, op)(x, 2, 2))


@pytest.mark.parametrize("last", [False, True])
def test_what_pooling_and_convolution_return_may_be_changed_in_place(last):
    x = randn(2, 3, 8, 8)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    gradients = []
    for own in (layers, nn):
        torch.manual_seed(0)
        conv, pool = own.Conv2d(3, 4, 3).double(), own.MaxPool2d(2)
        net = nn.Sequential(conv, nn.ReLU(inplace=True), pool, nn.LeakyReLU(inplace=True))
        (net(x) ** 2).sum().backward()
        gradients.append(conv.weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
