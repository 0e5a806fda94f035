"""Dropout whose mask belongs to the global batch."""

import torch
from torch import distributed, nn


class Dropout(nn.Module):
    """Drops units as one process would, whatever the number of processes.

    Process r of R serves rows r, r + R, … of a batch. It puts its rows into their places in the
    whole batch, so that each process draws the mask of all of it, from the same random state.

    Args:
        layer: what drops, ``nn.Dropout`` or its twin by hand.
    """

    def __init__(self, layer: nn.Dropout):
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop units of x (N, ...) in training; x itself in evaluation."""
        if not (self.training and distributed.is_available() and distributed.is_initialized()):
            return self.layer(x)
        rank, ranks = distributed.get_rank(), distributed.get_world_size()
        whole = x.new_zeros(len(x) * ranks, *x.shape[1:])
        whole[rank::ranks] = x
        return self.layer(whole)[rank::ranks]
