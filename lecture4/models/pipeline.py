"""Preprocessing and model in one module: raw inputs to scores."""

import torch
from torch import nn


class Pipeline(nn.Module):
    """s = f(preprocess(x)): raw inputs (N, ...) -> scores (N, K).

    Its state dict has the keys ``preprocess.*`` and ``model.*``, as a run's checkpoint does.

    Args:
        preprocess: fitted; raw inputs -> inputs of the model.
        model: inputs -> scores.
    """

    def __init__(self, preprocess: nn.Module, model: nn.Module):
        super().__init__()
        self.preprocess, self.model = preprocess, model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scores (N, K) of raw inputs (N, ...)."""
        return self.model(self.preprocess(inputs))
