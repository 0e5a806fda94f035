import pytest
import torch
from optimizing import near, with_gradient

from lecture4.byhand import optim
from lecture4.byhand.optim.descent import accelerate_, descend_


def test_two_steps_with_momentum():
    """w = (1, −2),  η = 0.1,  μ = 0.5,  λ = 0.1.

    step 1, ∂L/∂w = (4, 1)
        g = (4 + 0.1, 1 − 0.2) = (4.1, 0.8)
        v = g
        w = (1 − 0.41, −2 − 0.08) = (0.59, −2.08)
    step 2, ∂L/∂w = (2, 3)
        g = (2 + 0.059, 3 − 0.208) = (2.059, 2.792)
        v = (2.05 + 2.059, 0.4 + 2.792) = (4.109, 3.192)
        w = (0.59 − 0.4109, −2.08 − 0.3192) = (0.1791, −2.3992)
    """
    w = with_gradient([1.0, -2.0], [4.0, 1.0])
    optimizer = optim.SGD([w], lr=0.1, momentum=0.5, weight_decay=0.1)
    optimizer.step()
    assert w.tolist() == near([0.59, -2.08])
    w.grad = torch.tensor([2.0, 3.0], dtype=torch.float64)
    optimizer.step()
    assert optimizer.state[w]["momentum_buffer"].tolist() == near([4.109, 3.192])
    assert w.tolist() == near([0.1791, -2.3992])


def test_two_steps_with_dampened_momentum():
    """w = 0,  η = 1,  μ = 0.5,  τ = 0.25,  g = 4 twice: v = 4, then 0.5 · 4 + 0.75 · 4 = 5."""
    w = with_gradient(0.0, 4.0)
    optimizer = optim.SGD([w], lr=1.0, momentum=0.5, dampening=0.25)
    optimizer.step()
    assert w.item() == near(-4.0)
    optimizer.step()
    assert w.item() == near(-9.0)


def test_two_steps_that_look_ahead():
    """w = 0,  η = 0.1,  μ = 0.5,  g = 4, then 2.

    step 1:  v = 4,              w = −0.1 · (4 + 0.5 · 4) = −0.6
    step 2:  v = 0.5 · 4 + 2 = 4,  w = −0.6 − 0.1 · (2 + 0.5 · 4) = −1
    """
    w = with_gradient(0.0, 4.0)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.5, nesterov=True)
    optimizer.step()
    assert w.item() == near(-0.6)
    w.grad.fill_(2.0)
    optimizer.step()
    assert w.item() == near(-1.0)


def test_plain_gradient_descent():
    """w = (1, −2),  η = 0.1,  g = (4, 1):  w ← (1 − 0.4, −2 − 0.1)."""
    w = torch.tensor([1.0, -2.0], dtype=torch.float64)
    pointer, g = w.data_ptr(), torch.tensor([4.0, 1.0], dtype=torch.float64)
    descend_(w, g, 0.1)
    assert w.tolist() == near([0.6, -2.1])
    assert w.data_ptr() == pointer
    assert g.tolist() == [4, 1]


def test_plain_gradient_descent_is_torchs_sgd():
    ours = torch.tensor([1.0, -2.0], dtype=torch.float64)
    theirs = with_gradient([1.0, -2.0], [4.0, 1.0])
    for _ in range(5):
        descend_(ours, theirs.grad, 0.3)
        torch.optim.SGD([theirs], lr=0.3).step()
    assert torch.equal(ours, theirs.detach())


@pytest.mark.parametrize("mu", [0.5, 0.9])
def test_momentum_grows_along_a_constant_gradient_and_cancels_an_alternating_one(mu):
    """v → g/(1 − μ) for g, g, …;  |v| → g/(1 + μ) for g, −g, …."""
    steady, alternating = torch.zeros(1).double(), torch.zeros(1).double()
    for step in range(300):
        accelerate_(steady, torch.ones(1).double(), mu, 0)
        accelerate_(alternating, torch.full((1,), (-1.0) ** step).double(), mu, 0)
    assert steady.item() == near(1 / (1 - mu))
    assert alternating.abs().item() == near(1 / (1 + mu))
