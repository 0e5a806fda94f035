"""Softmax classifier, the lecture's first model: s = W x + b."""

import math
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import nn

from lecture4.byhand.init import initialize_
from lecture4.models.settings import keeps_settings


@keeps_settings
class SoftmaxClassifier(nn.Module):
    """Multinomial logistic regression: one linear layer from the stretched input to the scores.

        s = W x + b,   P(Y = k | x) = exp(s_k) / Σⱼ exp(s_j)

    Row k of W, seen as an image, is the template of class k.

    Args:
        input_shape: of one input, (C, H, W) or (D,); x is stretched to D = C·H·W numbers.
        num_classes: K.
        init: how W is drawn, see ``lecture4.byhand.init``.
        layers: where the layers come from: ``torch.nn`` or ``lecture4.byhand.nn``.

    Raises:
        ValueError: ``init`` is unknown.
    """

    settings: dict

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        init: str = "small",
        layers: ModuleType = nn,
    ):
        super().__init__()
        self.flatten = layers.Flatten()
        self.scores = layers.Linear(math.prod(input_shape), num_classes)
        initialize_(self.scores, init)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (N, K) of inputs (N, ...)."""
        return self.scores(self.flatten(x))  # (N, C, H, W) -> (N, D) -> (N, K)
