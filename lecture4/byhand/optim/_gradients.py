"""What every update begins with: the loss of a closure, and the gradients of a group."""

from collections.abc import Callable, Iterator

import torch


def evaluate(closure: Callable | None) -> torch.Tensor | None:
    with torch.enable_grad():
        return None if closure is None else closure()


def gradients(group: dict) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The parameters of a group that have a gradient, with the direction that climbs the loss."""
    for w in group["params"]:
        if w.grad is None:
            continue
        if w.grad.is_sparse or w.is_complex():
            raise ValueError("sparse gradients and complex parameters are not supported by hand")
        yield w, -w.grad if group["maximize"] else w.grad
