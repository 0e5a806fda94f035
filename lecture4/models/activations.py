"""The activations that a model may name: the layer of each, and its gain for initialisation."""

import math
from types import ModuleType
from typing import NamedTuple

from torch import nn


class Activation(NamedTuple):
    """An activation f: the name of its layer in ``torch.nn``, and its gain.

    gain² = 1 / E[f(z)²] for z ~ N(0, 1) keeps the second moment, see ``byhand.init``. For tanh and
    sigmoid the gains are the ones in common use, as in ``torch.nn.init.calculate_gain``.
    """

    layer: str
    gain: float


ACTIVATIONS = {
    "relu": Activation("ReLU", math.sqrt(2)),
    "sigmoid": Activation("Sigmoid", 1.0),
    "tanh": Activation("Tanh", 5 / 3),
    "leaky_relu": Activation("LeakyReLU", math.sqrt(2 / (1 + 0.01**2))),  # slope 0.01 below zero
    "gelu": Activation("GELU", 1.5335),  # E[gelu(z)²] = 0.4252
    "silu": Activation("SiLU", 1.6765),  # E[silu(z)²] = 0.3558
}


def find_activation(name: str) -> Activation:
    """The row of ``ACTIVATIONS`` called ``name``.

    Raises:
        ValueError: there is none.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation={name} is unknown; choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def make_activation(name: str, layers: ModuleType = nn) -> nn.Module:
    """The layer of the activation called ``name``; errors as ``find_activation``."""
    return getattr(layers, find_activation(name).layer)()
