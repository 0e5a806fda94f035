"""Softmax classifier, the lecture's first model: s = W x + b."""

import math
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import nn

from lecture4.byhand.init import initialize_
from lecture4.byhand.nn import family, name_of


class SoftmaxClassifier(nn.Module):
    """Multinomial logistic regression: one linear layer from the stretched input to the scores.

        s = W x + b,   P(Y = k | x) = exp(s_k) / Σⱼ exp(s_j)

    Row k of W, seen as an image, is the template of class k.

    Args:
        input_shape: of one input, (C, H, W) or (D,); x is stretched to D = C·H·W numbers.
        num_classes: K.
        init: how W is drawn (``lecture4.byhand.init``).
        layers: ``torch``, or ``byhand`` (``lecture4.byhand.nn``).

    Raises:
        ValueError: a name is unknown.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        init: str = "small",
        layers: str | ModuleType = "torch",
    ):
        super().__init__()
        self.settings = {
            "input_shape": list(input_shape),
            "num_classes": num_classes,
            "init": init,
            "layers": name_of(layers),
        }
        own = family(layers)
        self.flatten = own.Flatten()
        self.scores = own.Linear(math.prod(input_shape), num_classes)
        initialize_(self.scores, init)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (N, K) of inputs (N, ...)."""
        return self.scores(self.flatten(x))  # (N, C, H, W) -> (N, D) -> (N, K)
