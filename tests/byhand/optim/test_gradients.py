import pytest
import torch
from optimizing import (
    NAMES,
    assert_near,
    backward,
    network,
    parameter,
    trained,
    weights,
    with_gradient,
)
from torch import nn

from lecture4.byhand import optim


@pytest.mark.parametrize("name", NAMES)
def test_the_closure_is_evaluated_once_with_gradients_before_the_step(name):
    model, before, calls = network(), weights(network()), []
    optimizer = getattr(optim, name)(model.parameters(), lr=1e-2)

    def closure():
        calls.append(torch.is_grad_enabled())
        assert all(torch.equal(a, b) for a, b in zip(weights(model), before, strict=True))
        return backward(model, 0)

    with torch.no_grad():
        loss = optimizer.step(closure)
    assert calls == [True]
    assert torch.equal(loss, backward(network(), 0))
    twin, _ = trained(name, "loop", {"lr": 1e-2}, last=1)
    assert_near(weights(model), weights(twin))
    assert optimizer.step() is None


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_without_gradient_is_left_out(name):
    w, other = with_gradient([1.0, 2.0], [3.0, 4.0]), parameter([5.0, 6.0])
    options = {"lr": 0.1, "weight_decay": 0.1} | ({"momentum": 0.9} if name == "SGD" else {})
    optimizer = getattr(optim, name)([other, w], **options)
    optimizer.step()
    assert other.tolist() == [5.0, 6.0]
    assert other not in optimizer.state
    assert list(optimizer.state) == [w]
    assert w.tolist() != [1.0, 2.0]


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_changes_weights_in_place_and_leaves_gradients(name, maximize):
    w = with_gradient([1.0, -2.0], [3.0, 4.0])
    pointer, gradient = w.data_ptr(), w.grad
    options = {"lr": 0.1, "weight_decay": 0.1, "maximize": maximize}
    options |= {"momentum": 0.9, "nesterov": True} if name == "SGD" else {"amsgrad": True}
    optimizer = getattr(optim, name)([w], **options)
    for _ in range(3):
        before = w.tolist()
        optimizer.step()
        assert w.tolist() != before
        assert w.grad is gradient
        assert gradient.tolist() == [3.0, 4.0]
    assert w.data_ptr() == pointer
    assert w.requires_grad
    assert w.is_leaf


@pytest.mark.parametrize("name", NAMES)
def test_what_no_gradient_is_written_for_is_refused(name):
    w = parameter([[1.0, 2.0], [3.0, 4.0]])
    w.grad = torch.ones(2, 2, dtype=torch.float64).to_sparse()
    with pytest.raises(ValueError, match="sparse"):
        getattr(optim, name)([w]).step()
    assert w.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    z = nn.Parameter(torch.ones(2, dtype=torch.complex128))
    z.grad = torch.ones_like(z)
    with pytest.raises(ValueError, match="complex"):
        getattr(optim, name)([z]).step()
