"""Learning-rate schedules: the rate at each step, as a multiple of the optimizer's own ``lr``."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler


def constant(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """η(t) = lr."""
    return LambdaLR(optimizer, lambda step: 1.0)


def step(
    optimizer: Optimizer, total_steps: int, gamma: float = 0.1, milestones=(0.5, 0.75)
) -> LRScheduler:
    """η(t) = lr · γᵐ, m = number of milestones (fractions of the run) passed."""

    def factor(step: int) -> float:
        return gamma ** sum(step >= m * total_steps for m in milestones)

    return LambdaLR(optimizer, factor)


def cosine(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """η(t) = lr · (1 + cos(π t/T)) / 2, from lr down to 0 over the run's T steps.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5 without restarts.
    """
    return LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / total_steps)) / 2)


def onecycle(
    optimizer: Optimizer, total_steps: int, warmup: float = 0.25, start: float = 0.1
) -> LRScheduler:
    """Linear from ``start`` · lr to lr in the first ``warmup`` of the run, then linear to 0.

    Source: Smith & Topin 2018, arXiv:1708.07120; piecewise linear as in David Page's CIFAR-10
    recipe (2018).
    """
    peak = warmup * total_steps

    def factor(step: int) -> float:
        if step < peak:
            return start + (1 - start) * step / peak
        return max(0.0, (total_steps - step) / max(total_steps - peak, 1))

    return LambdaLR(optimizer, factor)


def restore_rates(schedule: LambdaLR) -> None:
    """Set each group's learning rate by the schedule at its current step.

    A checkpoint holds the rates of the run that saved it, which may have fewer steps.
    """
    for group, lr, factor in zip(
        schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
    ):
        group["lr"] = lr * factor(schedule.last_epoch)
