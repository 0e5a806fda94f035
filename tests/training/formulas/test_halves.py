"""Pairs of forward and backward as operations of autograd."""

import pytest
import torch

from lecture4.training.formulas import read

LINEAR = """
import numpy as np
def linear_forward(x, w, b):
    return x @ w.T + (0 if b is None else b), (x, w)
def linear_backward(d, cache):
    x, w = cache
    return {gradients}
"""


def gradients(call, bias=True):
    x, w = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    b = torch.ones(4, requires_grad=True) if bias else None
    call(x, w, b).sum().backward()
    return [t.grad.tolist() for t in (x, w, b) if t is not None]


DX, DW, DB = [[4.0] * 3] * 2, [[2.0] * 3] * 4, [2.0] * 4


@pytest.mark.parametrize(
    "returned",
    [
        "d @ w, d.T @ x, d.sum(0)",
        "d @ w, d.T @ x, d.sum(0), None, None",
        "[d @ w, d.T @ x, np.sum(d, axis=0, keepdims=True)]",
    ],
)
def test_gradients_are_in_the_order_of_the_arguments(entries, returned):
    call = entries(LINEAR.format(gradients=returned))["linear"].call
    assert gradients(call) == [DX, DW, DB]
    assert gradients(call, bias=False) == [DX, DW]


def test_arguments_in_another_order(entries):
    text = LINEAR.replace("(x, w, b):", "(w, b, x):").format(gradients="d.T @ x, d.sum(0), d @ w")
    assert gradients(entries(text)["linear"].call) == [DX, DW, DB]


def test_the_order_is_that_of_arguments_of_other_names(entries):
    text = LINEAR.replace("(x, w, b):", "(X, W, b):\n    x, w = X, W").format(
        gradients="d @ w, d.T @ x, d.sum(0)"
    )
    assert gradients(entries(text)["linear"].call) == [DX, DW, DB]


def test_a_decorator_hides_the_arguments(entries):
    text = LINEAR.format(gradients="d @ w, d.T @ x, d.sum(0)")
    text = "def logged(f):\n    return lambda *args, **kwargs: f(*args, **kwargs)\n" + text
    text = text.replace("def linear", "@logged\ndef linear")
    assert gradients(entries(text)["linear"].call) == [DX, DW, DB]


def test_a_backward_that_takes_the_cache_first_is_named(entries):
    text = "def relu_forward(x): return x, x\ndef relu_backward(cache, dout): return dout"
    with pytest.raises(ValueError, match="relu_backward takes the cache first"):
        entries(text)["relu"].call(torch.ones(2, requires_grad=True)).sum().backward()


def test_numpys_results_are_marked(entries):
    text = (
        "import {0}\ndef relu_forward(x): return {0}.abs(x), x\ndef relu_backward(d, x): return d"
    )
    assert entries(text.format("numpy"))["relu"].call.numpy
    assert not entries(text.format("torch"))["relu"].call.numpy


def test_two_gradients_without_bias(entries):
    call = entries(LINEAR.format(gradients="d @ w, d.T @ x"))["linear"].call
    assert gradients(call, bias=False) == [DX, DW]
    error = "linear_backward returned 2 gradients, not 3: of input, weight, bias"
    with pytest.raises(ValueError, match=error):
        gradients(call)


@pytest.mark.parametrize("returned", ["x", "x, x, x", "[x, x]"])
def test_a_forward_returns_two_values(entries, returned):
    text = f"def relu_forward(x): return {returned}\ndef relu_backward(d, x): return d"
    with pytest.raises(ValueError, match=r"relu_forward must return two values, \(out, cache\)"):
        entries(text)["relu"].call(torch.ones(2))


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_backward_in_place_does_not_change_others(entries, library):
    text = f"import {library}\ndef relu_forward(x): return x * (x > 0), x\n"
    text += "def relu_backward(d, x):\n    d[x <= 0] = 0\n    return d"
    relu = entries(text)["relu"].call
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    y = 1 * x
    (relu(y) + y).sum().backward()  # both get the same tensor of ones
    assert x.grad.tolist() == [1, 2]


def test_a_cache_of_the_output_forms_no_cycle(entries):
    import gc
    import weakref

    text = "import torch\ndef tanh_forward(x):\n    y = torch.tanh(x)\n    return y, y\n"
    tanh = entries(text + "def tanh_backward(d, y): return d * (1 - y * y)")["tanh"].call
    gc.disable()
    try:
        y = tanh(torch.ones(2, requires_grad=True))
        gone = weakref.ref(y)
        del y
        assert gone() is None
    finally:
        gc.enable()


def test_p_of_dropout_has_no_gradient(entries):
    text = "import numpy as np\ndef dropout_forward(x, p, training):\n"
    text += "    m = (np.random.rand(*x.shape) >= p) / (1 - p)\n    return x * m, m\n"
    call = entries(text + "def dropout_backward(d, m): return d * m")["dropout"].call
    x = torch.ones(100, requires_grad=True)
    y = call(x, 0.5, True)
    y.sum().backward()
    assert torch.equal(x.grad, y)
    assert sorted(set(y.tolist())) == [0, 2]


def test_only_the_scores_of_a_loss_have_a_gradient(solved):
    s = torch.ones(2, 3, requires_grad=True)
    loss = solved["pairs"]["cross_entropy"].call(s, torch.tensor([0, 1]))
    loss.backward()
    assert s.grad.shape == s.shape


def test_a_gradient_of_a_gradient_is_refused(solved):
    x = torch.ones(2, requires_grad=True)
    (g,) = torch.autograd.grad(solved["pairs"]["relu"].call(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable|does not require grad"):
        g.sum().backward()


@pytest.mark.parametrize("axis", ["dout", "dout.sum()"])
def test_a_gradient_of_another_size_is_named(tmp_path, axis):
    file = tmp_path / "mine.py"
    file.write_text(
        "def linear_forward(x, weight, bias):\n    return x @ weight.T + bias, (x, weight)\n\n"
        "def linear_backward(dout, cache):\n    x, weight = cache\n"
        f"    return dout @ weight, dout.T @ x, {axis}\n"
    )
    linear = read(file).entries["linear"].call
    x, weight, bias = torch.randn(4, 5), torch.randn(3, 5), torch.zeros(3, requires_grad=True)
    with pytest.raises(ValueError, match=r"the gradient of bias has the shape .*, not \(3,\)"):
        linear(x, weight, bias).sum().backward()
