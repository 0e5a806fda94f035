"""Dropout with one mask over the global batch, independent of the number of processes."""

import torch
from torch import distributed, nn


class GlobalDropout(nn.Module):
    """Drops the units that a single process would drop.

    Process r of R has rows r, r + R, … of the global batch. Each process draws the mask of the
    whole batch from the same random state, and applies its rows of the mask. ``layer`` is
    ``nn.Dropout`` or its twin by hand.
    """

    def __init__(self, layer: nn.Dropout):
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop units of x (N, ...) in training; x itself in evaluation."""
        if not self.training:
            return x
        rank, ranks = distributed.get_rank(), distributed.get_world_size()
        whole = x.new_zeros(len(x) * ranks, *x.shape[1:])
        whole[rank::ranks] = x
        return self.layer(whole)[rank::ranks]


def convert_dropout(model: nn.Module) -> None:
    """Replace each ``nn.Dropout`` below ``model`` by a ``GlobalDropout``, in place.

    The counterpart of ``nn.SyncBatchNorm.convert_sync_batchnorm``.
    """
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout) and not isinstance(parent, GlobalDropout):
                setattr(parent, name, GlobalDropout(child))
