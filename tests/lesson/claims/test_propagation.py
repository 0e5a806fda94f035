import math

import numpy as np
import pytest
import torch

from lecture4.data.randomness import generator
from lecture4.lesson.claims import propagation
from lecture4.lesson.claims.propagation import expected, expected_difference
from lecture4.models import MLP


@pytest.mark.parametrize("q", [0.01, 1.0, 3025.0])
def test_averages_over_a_gaussian_have_the_closed_form(q):
    assert expected(lambda z: torch.relu(z).square(), q) == pytest.approx(q / 2, rel=1e-5)
    assert expected(torch.sigmoid, q) == pytest.approx(0.5)
    assert expected(torch.erf, q) == pytest.approx(0, abs=1e-9)
    # E[erf(z)²] = (2/π) asin(2q/(1 + 2q)): Williams 1997
    square = 2 / math.pi * math.asin(2 * q / (1 + 2 * q))
    assert expected(lambda z: torch.erf(z).square(), q) == pytest.approx(square, rel=1e-3)


def test_averages_over_a_gaussian_are_those_of_gauss_and_hermite():
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    average = (weights * np.tanh(0.7 * nodes) ** 2).sum() / weights.sum()
    assert expected(lambda z: torch.tanh(z).square(), 0.49) == pytest.approx(average)


@pytest.mark.parametrize(("q", "d"), [(1.0, 0.5), (1.0, 1.0), (2.0, 1e-6), (900.0, 300.0)])
def test_the_spread_between_two_images_has_the_closed_form(q, d):
    asin = [math.asin(2 * v / (1 + 2 * q)) for v in (q, q - d)]
    spread = 2 / math.pi * (asin[0] - asin[1])
    assert expected_difference(torch.erf, q, d) == pytest.approx(spread, rel=0.01)
    assert expected_difference(lambda z: z, q, d) == pytest.approx(d)


def test_a_pass_has_the_values_and_gradients_of_the_formulas():
    x = torch.randn(5, 4, dtype=torch.float64, generator=generator(2))
    y = torch.arange(5) % 3
    model = MLP((4,), 3, [6, 6], "tanh").double()
    z, h, gradient = propagation.passed(model, x, y)
    with torch.no_grad():
        torch.testing.assert_close(z[0], model.hidden[0](x))
        torch.testing.assert_close(h[0], torch.tanh(z[0]))
        torch.testing.assert_close(z[1], model.hidden[2](h[0]))
        torch.testing.assert_close(model.scores(h[1]), model(x))
        of_scores = torch.softmax(model(x), 1) - torch.nn.functional.one_hot(y, 3)
        of_z2 = (of_scores @ model.scores.weight) * (1 - torch.tanh(z[1]) ** 2)
    torch.testing.assert_close(gradient[2], of_scores)
    torch.testing.assert_close(gradient[1], of_z2)
    assert len(gradient) == 3


def test_a_multiple_multiplies_every_weight():
    x = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    one, three = (propagation.untrained("relu", "he", x, 10, 5, times) for times in (1.0, 3.0))
    for a, b in zip(one.parameters(), three.parameters(), strict=True):
        torch.testing.assert_close(3 * a, b)
    assert one.scores.weight.std().item() == pytest.approx(0.1, rel=0.1)


def test_predicted_for_relu_and_he_is_constant():
    x = torch.randn(50, 100, dtype=torch.float64, generator=generator(3))
    model = MLP((100,), 10, [100] * 10).double()
    for layer, std in (*((layer, math.sqrt(2 / 100)) for layer in model.hidden[::2]),
                       (model.scores, 0.1)):  # fmt: skip
        layer.weight.data.mul_(std / propagation.rms(layer.weight.data))
    made = propagation.predicted(model, x, 0.3)
    assert made.q == pytest.approx([made.q[0]] * 10, rel=1e-4)
    last = 0.3 * math.sqrt(0.01 * 10 / 2)
    assert made.gradient == pytest.approx([last] * 10, rel=1e-2)


@pytest.mark.parametrize("activation", propagation.RANGES)
def test_derivative_and_inverse_are_of_the_activation(activation):
    z = torch.linspace(-3, 3, 40, dtype=torch.float64, requires_grad=True)
    h = getattr(torch, activation)(z)
    torch.testing.assert_close(
        propagation.DERIVATIVES[activation](z), torch.autograd.grad(h.sum(), z)[0]
    )
    torch.testing.assert_close(propagation.INVERSES[activation](h)[z > 0], z[z > 0])


def test_histograms_are_whole_and_near_the_prediction():
    x = torch.randn(200, 100, dtype=torch.float64, generator=generator(4))
    y = torch.arange(200) % 10
    model = propagation.untrained("tanh", "xavier", x, 10, 0)
    of = propagation.histograms(model, 1.0, x, y)
    for bins in (*of.activations, *of.gradients, *of.predicted):
        assert abs(sum(bins) - 1000) <= 12
    distance = np.abs(np.subtract(of.activations, of.predicted)).sum(1) / 2000
    assert len(distance) == 10
    assert distance.max() < 0.2
    assert of.std == pytest.approx(of.predicted_std, rel=0.2)
    saturated = propagation.histograms(propagation.untrained("tanh", "large", x, 10, 0), 1.0, x, y)
    assert saturated.activations[0][0] + saturated.activations[0][-1] > 800
