"""Multilayer perceptron: linear layers with an activation between them."""

import math
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import nn

from lecture4.byhand.init import initialize_
from lecture4.byhand.nn import family, name_of
from lecture4.models.activations import make_activation
from lecture4.models.dropout import Dropout


class MLP(nn.Module):
    """Fully connected neural network: h₁ = f(W₁ x + b₁), h₂ = f(W₂ h₁ + b₂), …, s = W h + b.

    Args:
        input_shape: of one input, (C, H, W) or (D,).
        num_classes: K.
        hidden: width of each hidden layer.
        activation: f, after each hidden layer.
        dropout: probability with which a hidden unit is zeroed in training.
        init: how each W is drawn (``byhand.init``), with the gain of the activation that follows.
        layers: ``torch``, or ``byhand`` (``lecture4.byhand.nn``).

    Raises:
        ValueError: a width is not a whole number ≥ 1, or a name is unknown.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        hidden: Sequence[int] = (512, 512),
        activation: str = "relu",
        dropout: float = 0.0,
        init: str = "he",
        layers: str | ModuleType = "torch",
    ):
        super().__init__()
        self.settings = {
            "input_shape": list(input_shape),
            "num_classes": num_classes,
            "hidden": _widths(hidden),
            "activation": activation,
            "dropout": dropout,
            "init": init,
            "layers": name_of(layers),
        }
        own = family(layers)
        hidden_layers: list[nn.Module] = []
        fan_in = math.prod(input_shape)
        for width in self.settings["hidden"]:
            hidden_layers += [own.Linear(fan_in, width), make_activation(activation, own)]
            initialize_(hidden_layers[-2], init, activation)
            if dropout:
                hidden_layers.append(Dropout(own.Dropout(dropout)))
            fan_in = width
        self.flatten = own.Flatten()
        self.hidden = nn.Sequential(*hidden_layers)
        self.scores = own.Linear(fan_in, num_classes)
        initialize_(self.scores, init)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (N, K) of inputs (N, ...)."""
        return self.scores(self.hidden(self.flatten(x)))  # (N, D) -> (N, width) -> (N, K)


def _widths(hidden: Sequence[int]) -> list[int]:
    if isinstance(hidden, str) or not isinstance(hidden, Sequence):
        raise ValueError(f"hidden={hidden!r} must be a list of widths, such as [512,512]")
    for width in hidden:
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise ValueError(f"hidden={list(hidden)}: a width must be a whole number ≥ 1")
    return list(hidden)
