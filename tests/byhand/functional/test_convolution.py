import pytest
import torch
from against_torch import assert_same, cases, compare, leaf, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from lecture4.byhand import functional as F
from lecture4.byhand.functional import convolution

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def number_or_pair(smallest, largest):
    one = st.integers(smallest, largest)
    return one | st.tuples(one, one) | st.lists(one, min_size=2, max_size=2)


def both(size):
    return (size, size) if isinstance(size, int) else tuple(size)


@st.composite
def convolutions(draw):
    """Shapes of images and filters, and options that fit them."""
    n, c, o = draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel_size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    options = {
        "stride": draw(number_or_pair(1, 3)),
        "dilation": draw(number_or_pair(1, 3)),
        "padding": draw(number_or_pair(0, 3) | st.just("valid")),
    }
    if draw(st.integers(0, 3)) == 0:
        options |= {"padding": "same", "stride": 1}
    sides = []
    for i in (0, 1):
        reach = both(options["dilation"])[i] * (kernel_size[i] - 1) + 1
        padding = options["padding"]
        around = {"same": reach, "valid": 0}.get(str(padding)) if isinstance(padding, str) else None
        around = 2 * both(padding)[i] if around is None else around
        sides.append(max(1, reach - around) + draw(st.integers(0, 5)))
    images = draw(st.sampled_from([(n, c, *sides), (c, *sides)]))
    return images, (o, c, *kernel_size), options


@cases
@given(convolutions(), st.booleans(), seeds)
def test_conv2d_and_its_gradients_are_torchs(case, has_bias, seed):
    images, filters, options = case
    bias = randn(filters[0], seed=seed + 2) if has_bias else None
    compare("conv2d", randn(*images, seed=seed), randn(*filters, seed=seed + 1), bias, **options)


@cases
@given(convolutions(), st.integers(0, 200), seeds)
def test_conv2d_cut_in_any_parts_is_torchs(case, at_once, seed):
    images, filters, options = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "AT_ONCE", at_once)
        compare("conv2d", randn(*images, seed=seed), randn(*filters, seed=seed + 1), **options)


def test_the_images_are_cut_in_parts(monkeypatch):
    cut = []
    patches = convolution._patches
    monkeypatch.setattr(convolution, "AT_ONCE", 2 * 9 * 9 * 3)  # two images at a time
    monkeypatch.setattr(
        convolution, "_patches", lambda x, windows: cut.append(len(x)) or patches(x, windows)
    )
    compare("conv2d", randn(5, 3, 5, 5), randn(2, 3, 3, 3), randn(2))
    assert cut == [2, 2, 1] * 2  # forward, and for the weight's gradient


def test_a_3_by_3_convolution_by_hand():
    """One filter slides over a 4×4 image: (4 − 3)/1 + 1 = 2.

    x = 1 2 0 1    w = 1  0 −1    b = 1
        0 1 3 2        2  1  0
        2 0 1 1        0 −1  1
        1 1 0 2

    z[i, j] = Σ w[a, e] x[i + a, j + e] + b
        z[0, 0] = (1 − 0) + (2·0 + 1) + (−0 + 1) + 1 = 4
        z[0, 1] = (2 − 1) + (2·1 + 3) + (−1 + 1) + 1 = 7
        z[1, 0] = (0 − 3) + (2·2 + 0) + (−1 + 0) + 1 = 1
        z[1, 1] = (1 − 2) + (2·0 + 1) + (−0 + 2) + 1 = 3

    with ∂L/∂z = [[1, 2], [3, −1]]
        ∂L/∂w[a, e] = Σ ∂L/∂z[i, j] x[i + a, j + e], e.g.
            w[0, 0]: 1·1 + 2·2 + 3·0 − 1·1 = 4
            w[1, 2]: 1·3 + 2·2 + 3·1 − 1·1 = 9
            w[2, 2]: 1·1 + 2·1 + 3·0 − 1·2 = 1
        ∂L/∂b = 1 + 2 + 3 − 1 = 5
        ∂L/∂x[u, v] = Σ ∂L/∂z[i, j] w[u − i, v − j], e.g.
            x[0, 0]: 1·1 = 1
            x[0, 1]: 1·0 + 2·1 = 2
            x[1, 1]: 1·1 + 2·2 + 3·0 − 1·1 = 4
            x[3, 3]: −1·1 = −1
    """
    x = leaf(torch.tensor([[[[1.0, 2, 0, 1], [0, 1, 3, 2], [2, 0, 1, 1], [1, 1, 0, 2]]]]))
    weight = leaf(torch.tensor([[[[1.0, 0, -1], [2, 1, 0], [0, -1, 1]]]]))
    bias = leaf(torch.tensor([1.0]))
    z = F.conv2d(x, weight, bias)
    assert z.tolist() == [[[[4, 7], [1, 3]]]]
    z.backward(torch.tensor([[[[1.0, 2], [3, -1]]]]))
    assert weight.grad.tolist() == [[[[4, 2, 9], [8, 6, 9], [4, 5, 1]]]]
    assert bias.grad.tolist() == [5]
    assert x.grad[0, 0, 0, :2].tolist() == [1, 2]
    assert x.grad[0, 0, 1, 1].item() == 4
    assert x.grad[0, 0, 3, 3].item() == -1


def test_stride_padding_and_dilation_by_hand():
    """x = (1, 2, 3, 4, 5),  w = (1, 10),  each as a map one row high.

    stride 2:    (1 + 20, 3 + 40)
    padding 1:   (0 + 10, 1 + 20, 2 + 30, 3 + 40, 4 + 50, 5 + 0)
    dilation 3:  (1 + 40, 2 + 50)
    same:        (1 + 20, 2 + 30, 3 + 40, 4 + 50, 5 + 0), the odd cell lies to the right
    """
    x, weight = torch.tensor([[[1.0, 2, 3, 4, 5]]]), torch.tensor([[[[1.0, 10]]]])
    for options, expected in (
        ({"stride": 2}, [21, 43]),
        ({"padding": (0, 1)}, [10, 21, 32, 43, 54, 5]),
        ({"dilation": 3}, [41, 52]),
        ({"padding": "same"}, [21, 32, 43, 54, 5]),
        ({"padding": "valid"}, [21, 32, 43, 54]),
    ):
        assert F.conv2d(x, weight, **options)[0, 0].tolist() == expected


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("batch", [(2,), ()])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"stride": (1, 3)},
        {"padding": 1},
        {"padding": (0, 2)},
        {"dilation": 2},
        {"dilation": (2, 1)},
        {"padding": "same"},
        {"padding": "valid"},
        {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)},
    ],
    ids=str,
)
def test_gradcheck_and_gradgradcheck_of_conv2d(options, batch, has_bias):
    inputs = [leaf(randn(*batch, 2, 4, 5)), leaf(randn(2, 2, 2, 3, seed=1))]
    inputs += [leaf(randn(2, seed=2))] if has_bias else []
    assert gradcheck(lambda *inputs: F.conv2d(*inputs, **options), inputs, fast_mode=True)
    assert gradgradcheck(lambda *inputs: F.conv2d(*inputs, **options), inputs, fast_mode=True)


def test_every_number_of_the_jacobian_of_conv2d():
    inputs = leaf(randn(1, 2, 4, 3)), leaf(randn(2, 2, 2, 2, seed=1)), leaf(randn(2, seed=2))
    assert gradcheck(lambda *inputs: F.conv2d(*inputs, stride=(2, 1), padding=1), inputs)
    assert gradgradcheck(lambda *inputs: F.conv2d(*inputs, stride=(2, 1), padding=1), inputs)


@pytest.mark.parametrize("asked", ["input", "weight", "bias"])
def test_conv2d_has_gradients_only_where_asked(asked):
    inputs = {"input": randn(2, 3, 4, 4), "weight": randn(2, 3, 3, 3), "bias": randn(2)}
    inputs[asked].requires_grad_()
    z = F.conv2d(**inputs)
    found = z.grad_fn.apply(torch.ones_like(z))
    assert [g is not None for g in found] == [name == asked for name in (*inputs, "windows")]
    expected = torch.autograd.grad(torch.conv2d(**inputs).sum(), inputs[asked])[0]
    assert_same(next(g for g in found if g is not None), expected)


def test_a_first_layer_trains_without_a_gradient_of_the_images(monkeypatch):
    def never(*_):
        raise AssertionError("∂L/∂x is not wanted")

    monkeypatch.setattr(convolution, "_col2im", never)
    weight = leaf(randn(2, 3, 3, 3))
    F.conv2d(randn(2, 3, 4, 4), weight).sum().backward()
    assert weight.grad.isfinite().all()
    with pytest.raises(AssertionError, match="not wanted"):
        F.conv2d(leaf(randn(2, 3, 4, 4)), weight).sum().backward()


def test_frozen_filters_need_no_patches(monkeypatch):
    x = leaf(randn(2, 3, 4, 4))
    z = F.conv2d(x, randn(2, 3, 3, 3))

    def never(*_):
        raise AssertionError("∂L/∂w is not wanted")

    monkeypatch.setattr(convolution, "_patches", never)
    z.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    "x",
    [
        randn(5, 4, 3, 2).permute(3, 2, 1, 0),
        randn(4, 6, 8, 10)[::2, ::2, ::2, ::2],
        randn(1, 3, 1, 5).expand(2, 3, 4, 5),
        randn(2, 3, 4, 5),
        randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    ],
    ids=["transposed", "sliced", "expanded", "contiguous", "channels_last"],
)
def test_conv2d_of_images_in_any_order_is_torchs(x):
    ours, theirs = compare("conv2d", x, randn(2, 3, 3, 2, seed=3), padding=1)
    if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last):
        assert ours.stride() == theirs.stride()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_conv2d_of_one_image_is_in_the_order_of_torchs(memory_format):
    x = randn(1, 3, 6, 5).to(memory_format=memory_format)
    ours, theirs = compare("conv2d", x, randn(2, 3, 3, 3).to(memory_format=memory_format))
    assert ours.stride() == theirs.stride()


def test_conv2d_of_filters_in_any_order_is_torchs():
    x, weight, bias = randn(2, 3, 4, 5), randn(2, 3, 3, 4, seed=1), randn(4, seed=2)
    compare("conv2d", x, weight.permute(3, 1, 2, 0)[:2, :, :2], bias[::2])
    compare("conv2d", x, weight.to(memory_format=torch.channels_last), bias[:1].expand(2))
    compare("conv2d", x, weight[:1].expand(2, 3, 3, 4))


def test_maps_of_contiguous_images_can_be_viewed():
    assert F.conv2d(randn(2, 3, 4, 4), randn(5, 3, 3, 3)).view(2, -1).shape == (2, 20)


@pytest.mark.parametrize(
    ("x", "weight", "bias"),
    [
        ((2, 3, 4, 4), (2, 4, 3, 3), None),
        ((3, 4), (2, 3, 3, 3), None),
        ((1, 2, 3, 4, 4), (2, 3, 3, 3), None),
        ((2, 3, 4, 4), (3, 3, 3), None),
        ((2, 3, 4, 4), (2, 3, 3, 3), (3,)),
        ((2, 3, 4, 4), (2, 3, 3, 3), (1,)),
        ((2, 3, 4, 4), (2, 3, 3, 3), (2, 1)),
        ((4, 3, 3), (2, 3, 3, 3), None),
    ],
)
def test_conv2d_refuses_shapes_that_do_not_fit(x, weight, bias):
    with pytest.raises(ValueError, match="conv2d takes input") as caught:
        F.conv2d(randn(*x), randn(*weight), None if bias is None else randn(*bias))
    assert f"input {x}, weight {weight} and bias {bias}" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 2}, "conv2d by hand does not support groups=2"),
        ({"padding": "foo"}, "foo"),
        ({"padding": "same", "stride": 2}, r"padding='same' .* stride=1, not \(2, 2\)"),
        ({"padding": "same", "stride": (1, 2)}, r"padding='same' .* stride=1, not \(1, 2\)"),
        ({"stride": 0}, "stride must be a whole number ≥ 1, not 0"),
        ({"padding": -1}, "padding must be a whole number ≥ 0, not -1"),
        ({"dilation": 0}, "dilation must be a whole number ≥ 1, not 0"),
        ({"stride": (1, 2, 3)}, r"not \(1, 2, 3\)"),
        ({"dilation": 3}, "kernel_size=3 with dilation=3 reaches over 7 pixels"),
    ],
    ids=str,
)
def test_conv2d_refuses_settings_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        F.conv2d(randn(2, 3, 6, 6), randn(2, 3, 3, 3), **options)


def test_one_group_is_no_group():
    compare("conv2d", randn(2, 3, 4, 4), randn(2, 3, 3, 3), groups=1)
