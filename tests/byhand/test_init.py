import math

import pytest
import torch
from torch import nn

from lecture4.byhand.init import GAINS, SCHEMES, initialize_


def layers():
    torch.manual_seed(0)
    return {
        "linear": (nn.Linear(500, 300), 500, 300),
        "convolution": (nn.Conv2d(64, 48, (3, 5)), 64 * 15, 48 * 15),
    }


def expected_std(scheme, gain, fan_in, fan_out):
    match scheme:
        case "he":
            return math.sqrt(gain**2 / fan_in)
        case "xavier":
            return math.sqrt(gain**2 * 2 / (fan_in + fan_out))
        case "small":
            return 0.001
        case "large":
            return 1.0


@pytest.mark.parametrize("activation", GAINS)
@pytest.mark.parametrize("scheme", ["he", "xavier", "small", "large"])
@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_mean_and_std_of_weights(kind, scheme, activation):
    layer, fan_in, fan_out = layers()[kind]
    initialize_(layer, scheme, activation)
    w = layer.weight.detach().double()
    std = expected_std(scheme, GAINS[activation], fan_in, fan_out)
    assert w.std().item() == pytest.approx(std, rel=0.015)
    assert abs(w.mean().item()) < 5 * std / math.sqrt(w.numel())
    assert not layer.bias.any()


def test_weights_are_normal():
    layer = nn.Linear(500, 300)
    torch.manual_seed(1)
    initialize_(layer, "he", "relu")
    z = layer.weight.detach().flatten() / math.sqrt(2 / 500)
    assert (z.abs() < 1).double().mean().item() == pytest.approx(0.6827, abs=0.005)
    assert (z.abs() < 2).double().mean().item() == pytest.approx(0.9545, abs=0.003)


@pytest.mark.parametrize("name", ["linear", "relu", "sigmoid", "tanh"])
def test_gains_are_those_of_torch(name):
    assert GAINS[name] == pytest.approx(nn.init.calculate_gain(name), rel=1e-12)


def test_gain_of_leaky_relu_is_for_the_slope_of_the_layer():
    slope = nn.LeakyReLU().negative_slope
    assert GAINS["leaky_relu"] == pytest.approx(nn.init.calculate_gain("leaky_relu", slope))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("linear", nn.Identity()),
        ("relu", nn.ReLU()),
        ("leaky_relu", nn.LeakyReLU()),
        ("gelu", nn.GELU()),
    ],
)
def test_gain_keeps_the_second_moment(name, function):
    """gain² · ∫ f(z)² φ(z) dz = 1, by the trapezoid rule."""
    z = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    second_moment = torch.trapezoid(function(z).square() * density, z).item()
    assert GAINS[name] ** 2 * second_moment == pytest.approx(1, abs=2e-4)


def test_pytorch_leaves_what_the_constructor_drew():
    torch.manual_seed(3)
    layer = nn.Conv2d(3, 8, 3)
    weight, bias = layer.weight.clone(), layer.bias.clone()
    initialize_(layer, "pytorch", "relu")
    assert torch.equal(layer.weight, weight)
    assert torch.equal(layer.bias, bias)
    assert bias.any()


def test_a_layer_without_bias():
    layer = nn.Conv2d(3, 8, 3, bias=False)
    initialize_(layer, "small")
    assert layer.bias is None
    assert layer.weight.abs().max() < 0.01


def test_the_seed_decides_the_weights():
    draws = []
    for seed in (0, 0, 1):
        layer = nn.Linear(5, 4)
        torch.manual_seed(seed)
        initialize_(layer, "he", "relu")
        draws.append(layer.weight.detach().clone())
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(("scheme", "low", "high"), [("he", 0.2, 5), ("small", 0, 1e-12)])
def test_he_keeps_activations_alive_through_twenty_layers(scheme, low, high):
    torch.manual_seed(0)
    h = torch.randn(200, 256)
    before = h.square().mean()
    for _ in range(20):
        layer = nn.Linear(256, 256)
        initialize_(layer, scheme, "relu")
        h = layer(h).relu()
    ratio = (h.square().mean() / (before / 2)).item()
    assert low <= ratio <= high


def test_unknown_scheme_lists_the_choices():
    with pytest.raises(ValueError, match=r"init=kaiming is unknown") as caught:
        initialize_(nn.Linear(2, 2), "kaiming")
    assert ", ".join(SCHEMES) in str(caught.value)
    assert set(SCHEMES) == {"xavier", "he", "small", "large", "pytorch"}


@pytest.mark.parametrize("scheme", ["he", "pytorch"])
def test_unknown_activation_lists_the_choices(scheme):
    with pytest.raises(ValueError, match="activation=swish is unknown") as caught:
        initialize_(nn.Linear(2, 2), scheme, "swish")
    assert ", ".join(GAINS) in str(caught.value)
