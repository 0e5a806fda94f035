import math

import pytest
import torch
from torch import nn

from lecture4.byhand.init import (
    OF_FILTERS,
    SCHEMES,
    covariance,
    initialize_,
    principal_components_,
    standard_deviation,
    whiten_,
)


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


def drawn(layer, scheme, gain=1.0, seed=0):
    torch.manual_seed(seed)
    initialize_(layer, scheme, gain)
    return layer.weight.detach()


SHAPES = [nn.Linear(7, 5), nn.Linear(4, 9), nn.Conv2d(4, 6, (3, 2)), nn.Conv2d(2, 30, 3)]


@pytest.mark.parametrize("layer", SHAPES, ids=str)
def test_orthogonal_is_torchs_draw(layer):
    w = drawn(layer, "orthogonal", 1.5).clone()
    torch.manual_seed(0)
    nn.init.orthogonal_(layer.weight, 1.5)
    torch.testing.assert_close(w, layer.weight.detach())
    assert not layer.bias.any()


@pytest.mark.parametrize("layer", SHAPES, ids=str)
def test_orthogonal_rows_or_columns(layer):
    """W Wᵀ = gain² I, or Wᵀ W if there are more rows than columns."""
    w = drawn(layer.double(), "orthogonal", 1.5).flatten(1)
    w = w.T if len(w) > w.shape[1] else w
    torch.testing.assert_close(w @ w.T, 1.5**2 * torch.eye(len(w), dtype=torch.float64))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 3, (3, 4)])
@pytest.mark.parametrize(("channels", "filters"), [(4, 6), (6, 4), (4, 4)])
def test_dirac_is_torchs_and_he_beyond_it(channels, filters, size, groups):
    layer = nn.Conv2d(channels, filters, size, groups=groups)
    w = drawn(layer, "dirac", 1.5).clone()
    he = drawn(layer, "he", 1.5).clone()
    nn.init.dirac_(layer.weight, groups)
    parts = [each.chunk(groups) for each in (w, layer.weight, he)]
    for ours, torchs, others in zip(*parts, strict=True):
        n = min(ours.shape[:2])
        assert torch.equal(ours[:n], torchs[:n])
        assert torch.equal(ours[n:], others[n:])
    assert not layer.bias.any()


def test_dirac_passes_channels_through():
    layer, x = nn.Conv2d(3, 5, 3, padding=1), torch.randn(2, 3, 6, 6)
    drawn(layer, "dirac")
    assert torch.equal(layer(x)[:, :3], x)
    assert layer(x)[:, 3:].std() > 0.1


def pictures(n=40):
    """Images whose channels and neighbours are correlated, with a mean, float64."""
    torch.manual_seed(3)
    x = torch.randn(n, 2, 12, 9, dtype=torch.float64)
    x = x + 0.7 * x.roll(1, 2) + 0.5 * x.roll(1, 3)
    return x + 0.8 * x.flip(1) + 1.3


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2}], ids=str)
def test_whitened_scores_of_the_fitted_images_are_uncorrelated(options):
    """Var[W x] = I over every window that the layer sees, as ε goes to 0."""
    layer, x = nn.Conv2d(2, 24, (2, 3), **options).double(), pictures()
    initialize_(layer, "whiten")
    whiten_(layer, x.split(7), eps=1e-12)
    scores = layer(x).detach().transpose(0, 1).flatten(1)  # (24, N·H'·W')
    torch.testing.assert_close(scores[::2], -scores[1::2])
    cov = torch.cov(scores[::2], correction=0)
    torch.testing.assert_close(cov, torch.eye(12, dtype=torch.float64), rtol=0, atol=1e-8)


def test_epsilon_lowers_the_variance_of_directions_that_hardly_vary():
    """λ_k / (λ_k + ε), the largest λ_k first."""
    layer, x = nn.Conv2d(2, 16, 2, bias=False).double(), pictures()
    whiten_(layer, [x], eps=0.1)
    windows = nn.functional.unfold(x, 2).transpose(0, 1).flatten(1)
    eigenvalues = torch.linalg.eigvalsh(torch.cov(windows, correction=0)).flip(0)
    variances = layer(x).var((0, 2, 3), correction=0)[::2]
    torch.testing.assert_close(variances.detach(), eigenvalues / (eigenvalues + 0.1))


def test_fewer_filters_are_the_ones_of_the_largest_eigenvalues():
    many, few = nn.Conv2d(2, 16, 2).double(), nn.Conv2d(2, 5, 2).double()
    for layer in (many, few):
        whiten_(layer, pictures().split(9))
    assert torch.equal(few.weight, many.weight[:5])


def test_the_covariance_does_not_depend_on_the_batches():
    x = 3 + torch.randn(50, 4, 6, dtype=torch.float64)
    expected = torch.cov(x.transpose(0, 1).flatten(1), correction=0)
    for n in (1, 7, 50):
        torch.testing.assert_close(covariance(x.split(n)), expected)
    torch.testing.assert_close(covariance([x.float()]), expected, rtol=1e-5, atol=1e-6)


def test_principal_components_are_uncorrelated_with_mean_0_and_variance_1():
    layer, x = nn.Linear(30, 12).double(), pictures()[:, :, :5, :3]
    principal_components_(layer, x.split(7), eps=1e-12)
    z = layer(x.flatten(1)).detach()
    torch.testing.assert_close(z.mean(0), torch.zeros(12, dtype=z.dtype))
    torch.testing.assert_close(torch.cov(z.T, correction=0), torch.eye(12, dtype=z.dtype))


def test_principal_components_come_in_the_order_of_their_variance():
    """λ_k / (λ_k + ε), with torch's singular values: λ = σ²/N."""
    layer, x = nn.Linear(30, 12).double(), pictures()[:, :, :5, :3].flatten(1)
    principal_components_(layer, [x], eps=0.1)
    eigenvalues = torch.linalg.svdvals(x - x.mean(0))[:12] ** 2 / len(x)
    variances = layer(x).detach().var(0, correction=0)
    torch.testing.assert_close(variances, eigenvalues / (eigenvalues + 0.1))


def test_principal_components_of_no_inputs_are_refused():
    with pytest.raises(ValueError, match="at least one batch"):
        principal_components_(nn.Linear(4, 2), [])


def test_whitened_filters_are_no_numbers_until_they_are_measured():
    layer = nn.Conv2d(3, 24, 2)
    initialize_(layer, "whiten")
    assert layer.weight.isnan().all()
    assert not layer.bias.any()


def test_whitening_refuses_more_filters_than_eigenvectors_and_no_images():
    layer = nn.Conv2d(3, 25, 2)
    for refused in (lambda: initialize_(layer, "whiten"), lambda: whiten_(layer, [])):
        with pytest.raises(ValueError, match="3·2·2 = 12 eigenvectors.* use channels ≤ 24"):
            refused()
    with pytest.raises(ValueError, match="at least one batch"):
        whiten_(nn.Conv2d(3, 24, 2), [])


@pytest.mark.parametrize("scheme", OF_FILTERS)
def test_schemes_of_filters_refuse_a_linear_layer(scheme):
    with pytest.raises(ValueError, match=f"init={scheme} sets filters.* Linear has none; use he"):
        initialize_(nn.Linear(4, 4), scheme)
