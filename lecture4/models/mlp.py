"""Multilayer perceptron: linear layers with an activation between them."""

import math
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import nn

from lecture4.byhand.init import initialize_
from lecture4.models.activations import find_activation, make_activation
from lecture4.models.settings import keeps_settings


@keeps_settings
class MLP(nn.Module):
    """Fully connected neural network: h₁ = f(W₁ x + b₁), h₂ = f(W₂ h₁ + b₂), …, s = W h + b.

    Args:
        input_shape: of one input, (C, H, W) or (D,).
        num_classes: K.
        hidden: width of each hidden layer.
        activation: f, after each hidden layer.
        dropout: probability with which a hidden unit is zeroed in training.
        init: how each W is drawn, see ``lecture4.byhand.init``, with the gain of f (scores: 1).
        layers: where the layers come from: ``torch.nn`` or ``lecture4.byhand.nn``.

    Raises:
        ValueError: a width is not a whole number ≥ 1, or a name is unknown.
    """

    settings: dict

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        hidden: Sequence[int] = (512, 512),
        activation: str = "relu",
        dropout: float = 0.0,
        init: str = "he",
        layers: ModuleType = nn,
    ):
        super().__init__()
        _check_widths(hidden)
        gain = find_activation(activation).gain
        self.flatten = layers.Flatten()
        self.hidden = nn.Sequential()
        fan_in = math.prod(input_shape)
        for width in hidden:
            linear = layers.Linear(fan_in, width)
            initialize_(linear, init, gain)
            self.hidden.extend([linear, make_activation(activation, layers)])
            if dropout:
                self.hidden.append(layers.Dropout(dropout))
            fan_in = width
        self.scores = layers.Linear(fan_in, num_classes)
        initialize_(self.scores, init)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (N, K) of inputs (N, ...)."""
        return self.scores(self.hidden(self.flatten(x)))  # (N, D) -> (N, width) -> (N, K)


def _check_widths(hidden: Sequence[int]) -> None:
    if isinstance(hidden, str) or not isinstance(hidden, Sequence):
        raise ValueError(f"hidden={hidden!r} must be a list of widths, such as [512,512]")
    for width in hidden:
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise ValueError(f"hidden={list(hidden)}: a width must be a whole number ≥ 1")
