"""Gradients of whole nets, each worked out on paper in the docstring of its test."""

import math

import pytest
import torch
from torch import nn

from lecture4.byhand import nn as byhand_nn
from lecture4.models import MLP, ConvNet, SoftmaxClassifier

pytestmark = pytest.mark.parametrize("layers", [nn, byhand_nn], ids=["torch", "byhand"])


def set_weights(layer, weight, bias=None):
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight, dtype=torch.float64))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias, dtype=torch.float64))


def near(values):
    return pytest.approx(values, abs=1e-12)


def test_gradient_of_the_softmax_classifier(layers):
    """∂L/∂s = p − y.

    x = (1, 2),  W = [[log 2, 0], [0, 0], [0, log √5]],  b = (0, 0, 0)
    s = W x + b = (log 2, 0, 2 · log √5) = (log 2, log 1, log 5)
    p = (2, 1, 5) / (2 + 1 + 5) = (1/4, 1/8, 5/8)
    true class 0:  y = (1, 0, 0),  L = −log p₀ = log 4
    ∂L/∂s = p − y = (−3/4, 1/8, 5/8)
    ∂L/∂W = (p − y) xᵀ = [[−3/4, −3/2], [1/8, 1/4], [5/8, 5/4]]
    ∂L/∂b = p − y
    ∂L/∂x = Wᵀ (p − y) = (−3/4 · log 2, 5/8 · log √5)
    """
    model = SoftmaxClassifier((2,), 3, layers=layers).double()
    set_weights(model.scores, [[math.log(2), 0], [0, 0], [0, math.log(5) / 2]], [0.0, 0, 0])
    x = torch.tensor([[1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    s = model(x)
    s.retain_grad()
    loss = layers.CrossEntropyLoss()(s, torch.tensor([0]))
    loss.backward()
    assert s.softmax(1).tolist()[0] == near([1 / 4, 1 / 8, 5 / 8])
    assert loss.item() == near(math.log(4))
    assert s.grad.tolist()[0] == near([-3 / 4, 1 / 8, 5 / 8])
    assert model.scores.weight.grad.flatten().tolist() == near(
        [-3 / 4, -3 / 2, 1 / 8, 1 / 4, 5 / 8, 5 / 4]
    )
    assert model.scores.bias.grad.tolist() == near([-3 / 4, 1 / 8, 5 / 8])
    assert x.grad.tolist()[0] == near([-3 / 4 * math.log(2), 5 / 16 * math.log(5)])


def test_gradient_of_a_batch_is_the_mean(layers):
    """Two examples, W = 0, b = 0, K = 2: p = (1/2, 1/2) for both.

    x₁ = (1, 0), class 0:  p − y = (−1/2, 1/2)
    x₂ = (3, 4), class 1:  p − y = (1/2, −1/2)
    L = (log 2 + log 2)/2 = log 2
    ∂L/∂W = 1/2 · ([[−1/2, 0], [1/2, 0]] + [[3/2, 2], [−3/2, −2]]) = [[1/2, 1], [−1/2, −1]]
    ∂L/∂b = 1/2 · ((−1/2, 1/2) + (1/2, −1/2)) = (0, 0)
    """
    model = SoftmaxClassifier((2,), 2, layers=layers).double()
    set_weights(model.scores, [[0.0, 0], [0, 0]], [0.0, 0])
    x = torch.tensor([[1.0, 0], [3, 4]], dtype=torch.float64)
    loss = layers.CrossEntropyLoss()(model(x), torch.tensor([0, 1]))
    loss.backward()
    assert loss.item() == near(math.log(2))
    assert model.scores.weight.grad.flatten().tolist() == near([1 / 2, 1, -1 / 2, -1])
    assert model.scores.bias.grad.tolist() == near([0, 0])


def test_backward_pass_of_a_two_layer_net(layers):
    """Two layers: h = max(0, W₁ x + b₁),  s = W₂ h + b₂.

    forward
        x  = (1, −1)
        W₁ = [[2, 1], [1, 3], [−1, −2]],  b₁ = (0, 1, 1)
        z  = (2 − 1 + 0, 1 − 3 + 1, −1 + 2 + 1) = (1, −1, 2)
        h  = (1, 0, 2)
        W₂ = [[1, 5, 0], [−1, 2, 1]],  b₂ = (log 3 − 1, −1)
        s  = (1 + 0 + 0 + log 3 − 1, −1 + 0 + 2 − 1) = (log 3, 0)
        p  = (3, 1) / (3 + 1) = (3/4, 1/4)
        true class 1:  L = −log 1/4 = log 4
    backward
        ∂L/∂s  = p − y = (3/4, 1/4 − 1) = (3/4, −3/4)
        ∂L/∂W₂ = ∂L/∂s hᵀ = [[3/4, 0, 3/2], [−3/4, 0, −3/2]]
        ∂L/∂b₂ = (3/4, −3/4)
        ∂L/∂h  = W₂ᵀ ∂L/∂s = (3/4 + 3/4, 15/4 − 3/2, 0 − 3/4) = (3/2, 9/4, −3/4)
        ∂L/∂z  = ∂L/∂h where z > 0 = (3/2, 0, −3/4)
        ∂L/∂W₁ = ∂L/∂z xᵀ = [[3/2, −3/2], [0, 0], [−3/4, 3/4]]
        ∂L/∂b₁ = (3/2, 0, −3/4)
        ∂L/∂x  = W₁ᵀ ∂L/∂z = (2 · 3/2 + 3/4, 3/2 + 2 · 3/4) = (15/4, 3)
    """
    model = MLP((2,), 2, hidden=[3], activation="relu", layers=layers).double()
    first = model.hidden[0]
    set_weights(first, [[2.0, 1], [1, 3], [-1, -2]], [0.0, 1, 1])
    set_weights(model.scores, [[1.0, 5, 0], [-1, 2, 1]], [math.log(3) - 1, -1])
    x = torch.tensor([[1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    s = model(x)
    loss = layers.CrossEntropyLoss()(s, torch.tensor([1]))
    loss.backward()
    assert s.tolist()[0] == near([math.log(3), 0])
    assert loss.item() == near(math.log(4))
    assert model.scores.weight.grad.flatten().tolist() == near([3 / 4, 0, 3 / 2, -3 / 4, 0, -3 / 2])
    assert model.scores.bias.grad.tolist() == near([3 / 4, -3 / 4])
    assert first.weight.grad.flatten().tolist() == near([3 / 2, -3 / 2, 0, 0, -3 / 4, 3 / 4])
    assert first.bias.grad.tolist() == near([3 / 2, 0, -3 / 4])
    assert x.grad.tolist()[0] == near([15 / 4, 3])


def test_a_3_by_3_convolution(layers):
    """One filter slides over a 4×4 image without padding: (4 + 2·0 − 3)/1 + 1 = 2.

    x = 1 2 0 1    w = 1  0 −1    b = 1
        0 1 3 2        2  1  0
        2 0 1 1        0 −1  1
        1 1 0 2

    forward, z[i, j] = Σ w[a, b] x[i + a, j + b] + b
        z[0, 0] = (1 − 0) + (2·0 + 1) + (−0 + 1) + 1 = 1 + 1 + 1 + 1 = 4
        z[0, 1] = (2 − 1) + (2·1 + 3) + (−1 + 1) + 1 = 1 + 5 + 0 + 1 = 7
        z[1, 0] = (0 − 3) + (2·2 + 0) + (−1 + 0) + 1 = −3 + 4 − 1 + 1 = 1
        z[1, 1] = (1 − 2) + (2·0 + 1) + (−0 + 2) + 1 = −1 + 1 + 2 + 1 = 3
    every z is positive, so the ReLU leaves them; the head takes all four

    backward, with ∂L/∂z = [[1, 2], [3, −1]]
        ∂L/∂w[a, b] = Σ ∂L/∂z[i, j] x[i + a, j + b]
            w[0, 0]: 1·1 + 2·2 + 3·0 − 1·1 = 4
            w[0, 1]: 1·2 + 2·0 + 3·1 − 1·3 = 2
            w[0, 2]: 1·0 + 2·1 + 3·3 − 1·2 = 9
            w[1, 0]: 1·0 + 2·1 + 3·2 − 1·0 = 8
            w[1, 1]: 1·1 + 2·3 + 3·0 − 1·1 = 6
            w[1, 2]: 1·3 + 2·2 + 3·1 − 1·1 = 9
            w[2, 0]: 1·2 + 2·0 + 3·1 − 1·1 = 4
            w[2, 1]: 1·0 + 2·1 + 3·1 − 1·0 = 5
            w[2, 2]: 1·1 + 2·1 + 3·0 − 1·2 = 1
        ∂L/∂b = 1 + 2 + 3 − 1 = 5
        ∂L/∂x[1, 1] = Σ ∂L/∂z[i, j] w[1 − i, 1 − j] = 1·1 + 2·2 + 3·0 − 1·1 = 4
        ∂L/∂x[0, 0] = 1·1 = 1
        ∂L/∂x[3, 3] = −1·1 = −1
    """
    model = ConvNet(
        (1, 4, 4), 4, [{"channels": 1, "kernel_size": 3}], head="flatten", layers=layers
    ).double()
    conv = model.blocks[0].conv
    set_weights(conv, [[[[1.0, 0, -1], [2, 1, 0], [0, -1, 1]]]], [1.0])
    set_weights(model.scores, torch.eye(4).tolist(), [0.0] * 4)
    x = torch.tensor(
        [[[[1.0, 2, 0, 1], [0, 1, 3, 2], [2, 0, 1, 1], [1, 1, 0, 2]]]],
        dtype=torch.float64,
        requires_grad=True,
    )
    s = model(x)
    assert s.tolist()[0] == near([4, 7, 1, 3])
    s.backward(torch.tensor([[1.0, 2, 3, -1]], dtype=torch.float64))
    assert conv.weight.grad.flatten().tolist() == near([4, 2, 9, 8, 6, 9, 4, 5, 1])
    assert conv.bias.grad.tolist() == near([5])
    assert x.grad[0, 0, 1, 1].item() == near(4)
    assert x.grad[0, 0, 0, 0].item() == near(1)
    assert x.grad[0, 0, 3, 3].item() == near(-1)


def test_max_pooling_and_the_gradient_that_it_passes_on(layers):
    """The filter is 1×1 with w = 2, b = 0; then the maximum of each 2×2 window, then ReLU.

    x = 1 4 | −1 −2     2 x = 2 8 | −2 −4     max = 8 | −2     ReLU: 8 | 0
        3 2 | −3 −5           6 4 | −6 −10

    global head: h = (8 + 0)/2 = 4,   s = 3 h = 12
    ∂s/∂x: 3 · 1/2 · 2 = 3 where x = 4, and 0 elsewhere;   ∂s/∂w = 3 · 1/2 · 4 = 6
    """
    block = {"channels": 1, "kernel_size": 1, "pool": {"kind": "max", "kernel_size": 2}}
    model = ConvNet((1, 2, 4), 1, [block], layers=layers).double()
    conv = model.blocks[0].conv
    set_weights(conv, [[[[2.0]]]], [0.0])
    set_weights(model.scores, [[3.0]], [0.0])
    x = torch.tensor(
        [[[[1.0, 4, -1, -2], [3, 2, -3, -5]]]], dtype=torch.float64, requires_grad=True
    )
    s = model(x)
    s.sum().backward()
    assert s.item() == near(12)
    assert x.grad.flatten().tolist() == near([0, 3, 0, 0, 0, 0, 0, 0])
    assert conv.weight.grad.item() == near(6)
