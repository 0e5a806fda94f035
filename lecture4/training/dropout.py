"""Dropout whose mask belongs to the global batch, whatever the number of processes."""

import torch
from torch import distributed, nn


class GlobalDropout(nn.Module):
    """Drops units as one process would.

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
