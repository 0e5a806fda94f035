"""with_backward and with_right_backward: values and gradients apart."""

import torch

from lecture4.lesson.exercises.catalogue.mistake import (
    Mistake,
    with_backward,
    with_right_backward,
)


def test_the_backward_decides_the_gradients():
    x, b = (torch.ones(3, requires_grad=True) for _ in range(2))
    y = with_backward(x + b, (x, None, b), lambda dy: (2 * dy, dy, 3 * dy))
    y.sum().backward()
    assert y.tolist() == [2, 2, 2]
    assert x.grad.tolist() == [2, 2, 2]
    assert b.grad.tolist() == [3, 3, 3]


def test_a_mistake_in_the_forward_pass_alone():
    squared = Mistake("squared", "relu", lambda input: input**2, "It is squared.", alone=True)
    alone = with_right_backward(squared, torch.relu)
    assert alone.name == "squared_forward_alone"
    x = torch.tensor([-3.0, 3.0], requires_grad=True)
    y = alone.call(x)
    y.sum().backward()
    assert y.tolist() == [9, 9]
    assert x.grad.tolist() == [0, 1]


def test_a_value_of_another_shape_keeps_its_own_gradient():
    summed = Mistake("summed", "relu", lambda input: input.sum(), "It is summed.", alone=True)
    x = torch.tensor([-3.0, 3.0], requires_grad=True)
    with_right_backward(summed, torch.relu).call(x).backward()
    assert x.grad.tolist() == [1, 1]


def test_a_title_is_the_name_in_words():
    assert Mistake("left_out", "relu", torch.relu, "").title == "left out"
