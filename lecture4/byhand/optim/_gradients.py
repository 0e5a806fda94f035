"""The first lines of every update: evaluate the closure, iterate over the gradients."""

from collections.abc import Callable, Iterator

import torch


def evaluate(closure: Callable | None) -> torch.Tensor | None:
    """The loss of a closure, computed with gradients; None without a closure."""
    with torch.enable_grad():
        return None if closure is None else closure()


def gradients(group: dict) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Each parameter w of a group that has a gradient, with g, or −g if the group maximizes.

    Raises:
        ValueError: a gradient is sparse or a parameter complex.
    """
    for w in group["params"]:
        if w.grad is None:
            continue
        if w.grad.is_sparse or w.is_complex():
            raise ValueError("sparse gradients and complex parameters are not supported by hand")
        yield w, -w.grad if group["maximize"] else w.grad
