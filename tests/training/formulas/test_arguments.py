"""Call a function with the arguments of another."""

import inspect

import pytest
import torch

from lecture4.byhand import functional as F
from lecture4.training.formulas.arguments import Adapted


def adapted(function, name):
    reference = inspect.signature(getattr(F, name))
    call = Adapted("mine", function, reference)
    return lambda *args, **kwargs: call(call.all(args, kwargs))


@pytest.mark.parametrize(
    ("function", "name", "arguments", "wanted"),
    [
        (lambda x, w, b: (x, w, b), "linear", (1, 2, 3), (1, 2, 3)),
        (lambda b, w, x: (x, w, b), "linear", (1, 2, 3), (1, 2, 3)),
        (lambda image, kernel, b, s=1, p=0: (s, p), "conv2d", (1, 2, 3, 4, 5), (4, 5)),
        (lambda x, w, pad, stride, b=None: (b, stride, pad), "conv2d", (1, 2, 3, 4, 5), (3, 4, 5)),
        (lambda x, slope=0.5: slope, "relu", (1,), 0.5),  # inplace=False is no slope
        (lambda x, slope=0.5: slope, "leaky_relu", (1,), 0.01),
        (lambda x, axis=-1: axis, "softmax", (1, 0), 0),
        (lambda x, axis=-1: axis, "softmax", (1,), -1),
        (lambda x: x, "flatten", (1, 1), 1),
        (lambda s: s, "softmax", (2, 1), 2),
        (lambda s: s, "log_softmax", (2, -1), 2),
        (lambda x, size: size, "max_pool2d", (1, 3, 3), 3),
        (lambda *arguments: arguments, "conv2d", (1, 2, 3), (1, 2, 3)),
        (lambda *some, **more: some, "conv2d", (1, 2, 3, 1, 5), (1, 2, 3, 1, 5)),  # stride 1 stays
        (lambda x, *some: some, "max_pool2d", (1, 3, None, 2), (3, None, 2)),
        (lambda x, **more: more, "conv2d", (1, 2, None, 4), {"weight": 2, "stride": 4}),
        (
            lambda x, gamma, beta, running_mean, running_var, training: (gamma, running_mean),
            "batch_norm",
            (1, 2, 3, 4, 5, True),
            (4, 2),
        ),
    ],
)
def test_names_aliases_and_positions(function, name, arguments, wanted):
    assert adapted(function, name)(*arguments) == wanted


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("conv2d", (1, 2, None, 3), "mine takes no stride, which is 3 here"),
        ("linear", (1, 2, torch.ones(2)), "mine takes no bias, which is a tensor here"),
        ("conv2d", (1, 2, None, 1, 0, 2), "mine takes no dilation, which is 2 here"),
    ],
)
def test_an_argument_without_parameter_must_have_its_default(name, arguments, error):
    with pytest.raises(ValueError, match=error):
        adapted(lambda input, weight=None: 0, name)(*arguments)


def test_an_argument_that_does_not_go_without_saying():
    with pytest.raises(ValueError, match="mine takes no dim, which is 0 here"):
        adapted(lambda s: s, "softmax")(1, 0)


def test_a_number_takes_no_pair_by_its_position():
    reference = inspect.signature(torch.optim.Adam)
    call = Adapted("Adam", lambda params, lr=0.1, beta1=0.9, beta2=0.99: beta1, reference)
    assert call(call.all(([], 0.1), {})) == 0.9
    with pytest.raises(ValueError, match="Adam takes no betas"):
        call(call.all(([], 0.1, (0.5, 0.9)), {}))


def test_what_a_function_needs_has_no_default():
    call = Adapted("mine", lambda x, w, b: 0, inspect.signature(F.linear))
    assert "= None" not in str(inspect.signature(call.like_reference(lambda: 0)))
