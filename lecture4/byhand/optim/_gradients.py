"""The first lines of every update: evaluate the closure, iterate over the gradients."""

from collections.abc import Callable

import torch

from lecture4.byhand.functional._torch_options import check_tensor


def evaluate(closure: Callable | None) -> torch.Tensor | None:
    """The loss of a closure, computed with gradients; None without a closure."""
    with torch.enable_grad():
        return None if closure is None else closure()


def gradients(group: dict) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each parameter w of a group that has a gradient, with g, or −g if the group maximizes.

    Raises:
        ValueError: a parameter is not of floats, or a gradient is sparse.
    """
    found = [w for w in group["params"] if w.grad is not None]
    for w in found:
        check_tensor("an optimizer by hand", "parameters", w)
        check_tensor("an optimizer by hand", "gradients", w.grad)
    return [(w, -w.grad if group["maximize"] else w.grad) for w in found]
