"""Multilayer perceptron: linear layers with an activation between them."""

import math
from collections.abc import Iterable, Sequence
from types import ModuleType

import torch
from torch import nn

from lecture4.byhand.init import initialize_, principal_components_
from lecture4.models.activations import find_activation, make_activation
from lecture4.models.settings import keeps_settings

LARGEST = 2**13  # numbers in an input whose covariance, their square, is computed


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
        whiten: K′, of a first, frozen linear layer: the net sees the first K′ principal components
            of x, each of variance near 1, which ``fit`` computes; 0: no such layer.
        layers: where the layers come from: ``torch.nn`` or ``lecture4.byhand.nn``.

    Raises:
        ValueError: a width is not a whole number ≥ 1, or a name is unknown; ``whiten`` is more than
            the numbers in an input, or those are more than LARGEST.
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
        whiten: int = 0,
        layers: ModuleType = nn,
    ):
        super().__init__()
        _check_widths(hidden)
        gain = find_activation(activation).gain
        self.flatten = layers.Flatten()
        self.hidden = nn.Sequential()
        fan_in = math.prod(input_shape)
        _check_whiten(whiten, fan_in)
        self.whitens = whiten > 0
        if whiten:
            linear = layers.Linear(fan_in, whiten).requires_grad_(False)
            nn.init.constant_(linear.weight, math.nan)  # until fit computes it
            self.hidden.append(linear)
            fan_in = whiten
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

    def fit(self, batches: Iterable[torch.Tensor]) -> None:
        """Compute the first layer of a net with ``whiten`` from training inputs.

        Args:
            batches: preprocessed inputs (N, ...), a few at a time.
        """
        if self.whitens:
            principal_components_(self.hidden[0], batches)  # type: ignore[arg-type]


def _check_widths(hidden: Sequence[int]) -> None:
    if isinstance(hidden, str) or not isinstance(hidden, Sequence):
        raise ValueError(f"hidden={hidden!r} must be a list of widths, such as [512,512]")
    for width in hidden:
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise ValueError(f"hidden={list(hidden)}: a width must be a whole number ≥ 1")


def _check_whiten(whiten: int, numbers: int) -> None:
    if isinstance(whiten, bool) or not isinstance(whiten, int) or not 0 <= whiten <= numbers:
        raise ValueError(
            f"whiten={whiten!r} must be a whole number from 0 to {numbers}, the numbers in an input"
        )
    if whiten and numbers > LARGEST:
        raise ValueError(
            f"whiten={whiten} computes the covariance of inputs of up to {LARGEST} numbers, and "
            f"these have {numbers}; use smaller images or whiten=0"
        )
