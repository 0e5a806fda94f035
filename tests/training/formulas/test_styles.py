"""The formulas among the functions of a file."""

import inspect

import pytest
import torch

from lecture4.byhand import functional as F

X = torch.randn(4, 3, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
W = torch.randn(5, 3, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
S, B = X[:, :, 0, 0].clone(), W[0, :, 0, 0].clone()  # (4, 3) and (3,)
Y = torch.tensor([0, 2, 1, 1])
CASES = {
    "linear": [(S, X[:, :, 1, 1], X[:, 0, 2, 2])],
    "relu": [(S,), (X,)],
    "cross_entropy": [(S, Y)],
    "conv2d": [(X, W, W[:, 0, 0, 0], 1, 0), (X, W, W[:, 0, 0, 0], 2, 1), (X, W, W[:, 1, 1, 1])],
    "max_pool2d": [(X, 2), (X, 3, 2), (X, 3, 1)],
    "batch_norm": [
        (x, B.clone(), B.abs() + 1, B - 1, B + 2, training, 0.3, 1e-3)
        for x in (S, X)
        for training in (True, False)
    ],
}


def measured(call, arguments, name):
    """The value, the gradients, and the other tensors after the call."""
    floats = (name == "batch_norm" and [0, 3, 4]) or range(3)
    given = [
        a.clone().requires_grad_(i in floats and a.is_floating_point()) if torch.is_tensor(a) else a
        for i, a in enumerate(arguments)
    ]
    value = call(*given)
    wrt = [a for a in given if torch.is_tensor(a) and a.requires_grad]
    gradients = torch.autograd.grad(value, wrt, torch.cos(value.detach()))
    return value.detach(), *gradients, *(a.detach() for a in given if torch.is_tensor(a))


@pytest.mark.parametrize("style", ["torch_style", "pairs", "course"])
@pytest.mark.parametrize("name", CASES)
def test_a_solved_formula_is_byhands(solved, style, name):
    for arguments in CASES[name]:
        found = measured(solved[style][name].call, arguments, name)
        wanted = measured(getattr(F, name), arguments, name)
        for one, other in zip(found, wanted, strict=True):
            assert one.shape == other.shape
            assert one.dtype == other.dtype
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_styles_names_and_libraries(solved):
    pairs, course = solved["pairs"], solved["course"]
    assert {entry.style for entry in solved["torch_style"].values()} == {"torch"}
    assert {entry.style for entry in pairs.values()} == {"pair"}
    assert course["relu"].style == "pair"  # the names are the same
    assert {e.style for name, e in course.items() if name != "relu"} == {"course"}
    assert course["conv2d"].names == ("conv_forward_naive", "conv_backward_naive")
    assert course["SGD"].names == ("sgd", "sgd_momentum")
    assert pairs["linear"].names == ("linear_forward", "linear_backward")
    assert {name for name, entry in pairs.items() if not entry.call.numpy} == {"cross_entropy"}


def test_a_signature_has_what_the_function_takes(solved):
    def parameters(entry):
        return list(inspect.signature(entry.call).parameters)

    conv2d = parameters(solved["torch_style"]["conv2d"])
    assert conv2d == ["input", "weight", "bias", "stride", "padding"]
    assert parameters(solved["course"]["cross_entropy"]) == ["input", "target"]
    adam = parameters(solved["course"]["Adam"])
    assert adam == ["params", "lr", "betas", "eps", "weight_decay", "maximize"]
    assert parameters(solved["torch_style"]["he"]) == ["weight", "gain"]


PAIR = "def relu_forward(x): return x * (x > 0), x\ndef relu_backward(d, x): return d * (x > 0)\n"
HELPER = "import numpy as np\ndef relu(x): return np.maximum(x, 0)\n"


def test_a_pair_goes_before_a_helper_of_its_name(entries):
    assert entries(PAIR + HELPER)["relu"].style == "pair"
    half = PAIR.splitlines()[0] + "\ndef relu(x): return x.clamp(min=0)"
    assert entries(half)["relu"].style == "torch"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (PAIR.splitlines()[0], "relu_backward is not defined"),
        (f"{PAIR.splitlines()[0]}\ndef relu_backward(d, x): ...", "relu_backward is not defined"),
        (HELPER, "relu computes with NumPy, .* write relu_forward and relu_backward"),
    ],
)
def test_a_half_has_a_value_alone(entries, text, error):
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    y = entries(text)["relu"].call(x)
    assert y.tolist() == [0, 2]
    with pytest.raises(NotImplementedError, match=error):
        y.sum().backward()


def test_a_half_of_course_style_has_a_value_alone(entries):
    text = "def affine_forward(x, w, b): return x @ w + b, None"
    x = torch.ones(2, 3, requires_grad=True)
    y = entries(text)["linear"].call(x, torch.ones(4, 3), torch.ones(4))
    assert y.tolist() == [[4] * 4] * 2
    with pytest.raises(NotImplementedError, match="affine_backward is not defined"):
        y.sum().backward()


def test_what_is_not_begun_is_not_there(entries):
    text = "def relu(x): ...\nclass SGD:\n    def step(self): pass\ndef adam(w, dw, config): pass\n"
    assert entries(text + "def sgd(w, dw, config):\n    w, c = None, None\n    return w, c") == {}
