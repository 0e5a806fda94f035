"""``torch.nn`` layers that change one thing."""

import torch
from torch import distributed, nn


class Dropout(nn.Dropout):
    """``nn.Dropout`` whose mask belongs to the global batch, whatever the number of processes.

        y = m ⊙ x / (1 − p),   m ~ Bernoulli(1 − p), one per unit

    Process r of R serves rows r, r + R, … of a batch. Each draws the whole mask from the same
    random state and keeps its own rows, so that R processes train as one would.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop units of x (N, ...) in training; x itself in evaluation."""
        if not self.training or self.p == 0:
            return x
        rank, ranks = 0, 1
        if distributed.is_available() and distributed.is_initialized():
            rank, ranks = distributed.get_rank(), distributed.get_world_size()
        draws = torch.rand(len(x) * ranks, *x.shape[1:], device=x.device)
        scale = 1 / (1 - self.p) if self.p < 1 else 0.0
        return x * (draws[rank::ranks] >= self.p) * scale
