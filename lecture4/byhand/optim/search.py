"""Random search: try a candidate W, keep it if its loss is smaller."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator

import torch
from torch.optim import Optimizer

from lecture4.byhand.functional._torch_options import check_tensor


class Search(Optimizer, ABC):
    """Tries one candidate W for each batch and keeps it if its loss is smaller.

    The kept W and the candidate are scored on the same batch. The parameters are frozen, as no
    gradient is needed.
    """

    def __init__(self, params: Iterable, lr: float):
        if not lr > 0:
            raise ValueError(f"lr={lr} must be a number > 0")
        super().__init__(params, {"lr": lr})

    def add_param_group(self, param_group: dict) -> None:
        """Freeze the parameters, and add them; raise ValueError if one is not of floats."""
        super().add_param_group(param_group)
        for w in self.param_groups[-1]["params"]:
            check_tensor(type(self).__name__, "parameters", w)
            w.requires_grad_(False)

    @torch.no_grad()
    def step(self, closure: Callable) -> torch.Tensor:  # type: ignore[override]
        """Score W, then a candidate; ``closure`` returns the loss of the parameters as they are.

        Returns:
            The loss before the step, as optimizers of ``torch.optim`` do.
        """
        loss = closure()
        kept = [w.clone() for w in self._parameters()]
        for group in self.param_groups:
            for w in group["params"]:
                w.copy_(self.candidate(w, group["lr"]))
        candidate = closure()
        better = candidate < loss or (math.isnan(loss) and not math.isnan(candidate))
        if not better:
            for w, old in zip(self._parameters(), kept, strict=True):
                w.copy_(old)
        return loss

    @abstractmethod
    def candidate(self, w: torch.Tensor, lr: float) -> torch.Tensor:
        """The numbers to try in place of ``w``."""

    def _parameters(self) -> Iterator[torch.Tensor]:
        return (w for group in self.param_groups for w in group["params"])


class RandomSearch(Search):
    """A fresh random W in each step, W ~ N(0, lr²); the best is kept.

    Args:
        params: parameters, or groups of them; they are frozen.
        lr: standard deviation of every weight drawn.

    Raises:
        ValueError: ``lr`` is not positive.

    Source: the lecture, "Random search, or follow the slope".
    """

    def candidate(self, w: torch.Tensor, lr: float) -> torch.Tensor:
        """Draw W anew."""
        return lr * torch.randn_like(w)


class RandomLocalSearch(Search):
    """A random step from the best W so far, W + δ with δ ~ N(0, lr²); kept if it is better.

    Args:
        params: parameters, or groups of them; they are frozen.
        lr: standard deviation of every number in δ.

    Raises:
        ValueError: ``lr`` is not positive.

    Source: the lecture, "Random search, or follow the slope".
    """

    def candidate(self, w: torch.Tensor, lr: float) -> torch.Tensor:
        """Step away from W."""
        return w + lr * torch.randn_like(w)
