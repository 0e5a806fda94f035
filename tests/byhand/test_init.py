import math

import pytest
import torch
from torch import nn

from lecture4.byhand.init import SCHEMES, initialize_, standard_deviation


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


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2), 5 / 3])
@pytest.mark.parametrize("scheme", ["he", "xavier", "small", "large"])
@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_mean_and_std_of_weights(kind, scheme, gain):
    layer, fan_in, fan_out = layers()[kind]
    initialize_(layer, scheme, gain)
    w = layer.weight.detach().double()
    std = expected_std(scheme, gain, fan_in, fan_out)
    assert w.std().item() == pytest.approx(std, rel=0.015)
    assert abs(w.mean().item()) < 5 * std / math.sqrt(w.numel())
    assert not layer.bias.any()


def test_weights_are_normal():
    layer = nn.Linear(500, 300)
    torch.manual_seed(1)
    initialize_(layer, "he", math.sqrt(2))
    z = layer.weight.detach().flatten() / math.sqrt(2 / 500)
    assert (z.abs() < 1).double().mean().item() == pytest.approx(0.6827, abs=0.005)
    assert (z.abs() < 2).double().mean().item() == pytest.approx(0.9545, abs=0.003)


def test_pytorch_keeps_the_weights_of_the_constructor():
    torch.manual_seed(3)
    layer = nn.Conv2d(3, 8, 3)
    weight, bias = layer.weight.clone(), layer.bias.clone()
    initialize_(layer, "pytorch")
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
        initialize_(layer, "he", math.sqrt(2))
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
        initialize_(layer, scheme, math.sqrt(2))
        h = layer(h).relu()
    ratio = (h.square().mean() / (before / 2)).item()
    assert low <= ratio <= high


def test_unknown_scheme_lists_the_choices():
    with pytest.raises(ValueError, match=r"init=kaiming is unknown") as caught:
        initialize_(nn.Linear(2, 2), "kaiming")
    assert ", ".join(SCHEMES) in str(caught.value)
    assert set(SCHEMES) == {
        *("xavier", "he", "small", "large", "pytorch"),
        *("orthogonal", "dirac", "whiten"),
    }


@pytest.mark.parametrize(
    "layer", [nn.Linear(7, 5), nn.Conv2d(4, 6, (3, 5)), nn.Conv2d(4, 6, 1, bias=False)], ids=str
)
@pytest.mark.parametrize(("scheme", "other"), [("he", "fan_in"), ("xavier", "both")])
def test_fans_are_torchs(layer, scheme, other):
    """torch's own initialisers draw the same numbers from the same seed."""
    initialize_(layer, scheme, 1.5)
    torch.manual_seed(4)
    initialize_(layer, scheme, 1.5)
    ours = layer.weight.detach().clone()
    torch.manual_seed(4)
    if other == "both":
        nn.init.xavier_normal_(layer.weight, gain=1.5)
    else:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        ours /= 1.5
    torch.testing.assert_close(ours, layer.weight.detach(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("scheme", ["small", "large", "he"])
def test_a_score_has_the_variance_of_the_table(scheme):
    """Var[s] = n Var[w] E[x²]."""
    torch.manual_seed(0)
    layer, x = nn.Linear(400, 2000, bias=False).double(), 3 * torch.randn(400).double()
    initialize_(layer, scheme, 1.2)
    predicted = 400 * standard_deviation(scheme, 400, 2000, 1.2) ** 2 * x.square().mean()
    assert layer(x).var().item() == pytest.approx(predicted.item(), rel=0.15)
