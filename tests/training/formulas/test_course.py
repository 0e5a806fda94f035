"""Interfaces of courses with the arguments of torch."""

import pytest
import torch

from lecture4.byhand import functional as F

X = torch.randn(6, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_a_linear_layer_of_inputs_in_several_dimensions(solved):
    x = X.clone().requires_grad_()
    w, b = X[:2, 0, 0].clone().requires_grad_(), X[0, 0, :2, 0].clone()
    ours, theirs = solved["course"]["linear"].call(x, w, b), F.linear(x, w, b)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(y.cos().sum(), (x, w)) for y in (ours, theirs)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_without_bias_it_is_zero(solved):
    w = X[:2, :, :2, :2].clone()
    assert torch.equal(
        solved["course"]["conv2d"].call(X, w), solved["course"]["conv2d"].call(X, w, torch.zeros(2))
    )
    assert solved["course"]["linear"].call(X[:, 0, 0], X[:2, 0, 0]).shape == (6, 2)


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("conv2d", (X, X[:2, :, :2, :2], None, 1, 0, 2), "takes no dilation, which is 2 here"),
        ("conv2d", (X, X[:2, :, :2, :2], None, (1, 2)), r"takes one stride for .*, not \(1, 2\)"),
        ("conv2d", (X, X[:2, :, :2, :2], None, 1, "same"), "one padding for .*, not 'same'"),
        ("max_pool2d", (X, 2, 2, 1), "max_pool_forward_naive takes no padding, which is 1 here"),
        ("max_pool2d", (X, (2, 3)), r"takes one stride for height and width, not \(2, 3\)"),
        ("cross_entropy", (X[:, :, 0, 0], torch.zeros(6).long(), torch.ones(3)), "no weight"),
    ],
)
def test_what_an_interface_lacks_is_refused(solved, name, arguments, error):
    with pytest.raises(ValueError, match=error):
        solved["course"][name].call(*arguments)


def test_equal_sides_are_one_number(solved):
    w = X[:2, :, :2, :2].clone()
    ours = solved["course"]["conv2d"].call(X, w, None, (2, 2), (1, 1), (1, 1))
    torch.testing.assert_close(ours, F.conv2d(X, w, None, 2, 1))
    ours = solved["course"]["max_pool2d"].call(X, (2, 3), (1, 1))
    torch.testing.assert_close(ours, F.max_pool2d(X, (2, 3), 1))


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4), (6, 3, 4, 5)])
@pytest.mark.parametrize("kept", ["batchnorm", "spatial_batchnorm"])
def test_one_of_two_batch_norms_serves_all_shapes(entries, kept, shape):
    axes, wide = ("0", "") if kept == "batchnorm" else ("(0, 2, 3)", "[:, None, None]")
    text = f"""
    import numpy as np
    def {kept}_forward(x, gamma, beta, bn_param):
        assert x.ndim == {2 if kept == "batchnorm" else 4}
        mean, var = x.mean({axes}), x.var({axes})
        m = bn_param["momentum"]
        bn_param["running_mean"] = m * bn_param["running_mean"] + (1 - m) * mean
        bn_param["running_var"] = m * bn_param["running_var"] + (1 - m) * var
        return gamma{wide} * (x - mean{wide}) / np.sqrt(var{wide} + bn_param["eps"]) + beta{wide}, 0
    def {kept}_backward(dout, cache):
        return dout, dout.sum({axes}), dout.sum({axes})
    """
    x = X.flatten()[: torch.Size(shape).numel()].view(shape).clone().requires_grad_()
    stats = [[torch.zeros(3).double(), torch.ones(3).double()] for _ in range(2)]
    ours = entries(text)["batch_norm"].call(x, *stats[0], None, None, True, 0.2)
    theirs = F.batch_norm(x, *stats[1], None, None, True, 0.2)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(stats[0], stats[1])
    (dx,) = torch.autograd.grad(ours, x, x.detach())
    assert torch.equal(dx, x)


def test_batch_norm_without_running_statistics(solved):
    y = solved["course"]["batch_norm"].call(X, None, None, None, None, True)
    torch.testing.assert_close(y, F.batch_norm(X, None, None, None, None, True))


def test_dropout_gets_the_probability_of_keeping(solved):
    x = torch.ones(1000, requires_grad=True)
    y = solved["course"]["dropout"].call(x, 0.2, True)
    assert sorted(set(y.tolist())) == [0, 1.25]
    assert (y > 0).double().mean() == pytest.approx(0.8, abs=0.05)
    y.sum().backward()
    assert torch.equal(x.grad, y)
    assert torch.equal(solved["course"]["dropout"].call(x, 0.2, False), x)


def test_draws_follow_torchs_generator(solved):
    def drawn(seed):
        torch.manual_seed(seed)
        return [solved["course"]["dropout"].call(torch.ones(50), 0.5).tolist() for _ in range(2)]

    first = drawn(0)
    assert first[0] != first[1]  # two layers of a net
    assert drawn(0) == first != drawn(1)
