import math

import pytest
import torch
from torch import nn

from lecture4.byhand import nn as byhand_nn
from lecture4.models.activations import ACTIVATIONS, find_activation, make_activation

Z = [-3.0, -0.5, 0.0, 0.5, 3.0]


def normal_cdf(z):
    return (1 + math.erf(z / math.sqrt(2))) / 2


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", lambda z: max(z, 0.0)),
        ("sigmoid", lambda z: 1 / (1 + math.exp(-z))),
        ("tanh", math.tanh),
        ("leaky_relu", lambda z: z if z > 0 else 0.01 * z),
        ("gelu", lambda z: z * normal_cdf(z)),
        ("silu", lambda z: z / (1 + math.exp(-z))),
    ],
)
def test_formula(name, function):
    output = make_activation(name)(torch.tensor(Z, dtype=torch.float64))
    assert output.tolist() == pytest.approx([function(z) for z in Z], abs=1e-12)


def test_choices():
    assert list(ACTIVATIONS) == ["relu", "sigmoid", "tanh", "leaky_relu", "gelu", "silu"]


def test_unknown_name_lists_the_choices():
    for find in (find_activation, make_activation):
        with pytest.raises(ValueError, match="activation=swish is unknown") as caught:
            find("swish")
        assert ", ".join(ACTIVATIONS) in str(caught.value)


@pytest.mark.parametrize("layers", [nn, byhand_nn])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_layer_is_that_of_the_module(name, layers):
    assert type(make_activation(name, layers)) is getattr(layers, ACTIVATIONS[name].layer)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_gains_are_those_of_torch(name):
    assert ACTIVATIONS[name].gain == pytest.approx(nn.init.calculate_gain(name), rel=1e-12)


def test_gain_of_leaky_relu_is_for_the_slope_of_the_layer():
    slope = nn.LeakyReLU().negative_slope
    gain = nn.init.calculate_gain("leaky_relu", slope)
    assert ACTIVATIONS["leaky_relu"].gain == pytest.approx(gain)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "gelu", "silu"])
def test_gain_keeps_the_second_moment(name):
    """gain² · ∫ f(z)² φ(z) dz = 1, by the trapezoid rule."""
    z = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    second_moment = torch.trapezoid(make_activation(name)(z).square() * density, z).item()
    assert ACTIVATIONS[name].gain ** 2 * second_moment == pytest.approx(1, abs=2e-4)
