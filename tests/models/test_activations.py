import math

import pytest
import torch

from lecture4.byhand.init import GAINS
from lecture4.models.activations import ACTIVATIONS, make_activation

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
    ],
)
def test_formula(name, function):
    output = make_activation(name)(torch.tensor(Z, dtype=torch.float64))
    assert output.tolist() == pytest.approx([function(z) for z in Z], abs=1e-12)


def test_choices_and_their_gains():
    assert list(ACTIVATIONS) == ["relu", "sigmoid", "tanh", "leaky_relu", "gelu"]
    assert set(ACTIVATIONS) == set(GAINS) - {"linear"}


def test_unknown_name_lists_the_choices():
    with pytest.raises(ValueError, match="activation=swish is unknown") as caught:
        make_activation("swish")
    assert ", ".join(ACTIVATIONS) in str(caught.value)
