"""Gradient descent written out, for experiments that look into every step."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn

from lecture4.byhand import functional as F

Batch = tuple[torch.Tensor, torch.Tensor]  # inputs (N, ...), labels (N,)


def descend(
    model: nn.Module,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.cross_entropy,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> Iterator[float]:
    """W ← W − η ∂L/∂W, batch by batch; yields each batch's L before its step.

    It ends where L is NaN or infinite, without that step: fewer losses than batches mean that the
    training diverged.
    """
    for inputs, labels in batches:
        value = loss(model(inputs), labels)
        if not value.isfinite():
            return
        yield value.item()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if schedule:
            schedule.step()
